//! Damaged logs: each is refused in one line, or all of it can be used.

use std::panic;

use state_migration::Workflow;
use state_migration_examples::import::event_of;
use state_migration_examples::loan_2011::{Loan2011, LoanState2011};
use state_migration_examples::migrations::loan_2011_to_2012;
use state_migration_examples::xes::XesLog;

use crate::program::invented;

const PIECES: [&str; 24] = [
    "<event/>",
    "<event>",
    "</event>",
    "<trace/>",
    "<trace>",
    "</trace>",
    "<log/>",
    "<log>",
    "</log>",
    "<global>",
    "<global scope=\"trace\">",
    "<list key=\"a\">",
    "</list>",
    "<values>",
    "</values>",
    "<string key=\"concept:name\" value=\"x\">",
    "<int key=\"AMOUNT_REQ\" value=\"x\"/>",
    "<date key=\"REG_DATE\" value=\"x\"/>",
    "</string>",
    "&x;",
    "<![CDATA[",
    "<!--",
    "\"",
    "\0",
];

#[test]
fn a_broken_log_is_refused_in_one_line_or_can_be_used_as_a_whole() {
    let whole = invented(3).into_bytes();
    let mut dice = Dice(88_172_645_463_325_252);
    let (mut used, mut refused) = (0, 0);
    for round in 0..3_000 {
        let log: &'static [u8] = broken(&whole, &mut dice).leak();
        let outcome = panic::catch_unwind(|| use_all(&XesLog::embedded("the log", log)));
        match outcome {
            Ok(Ok(())) => used += 1,
            Ok(Err(message)) => {
                assert!(message.starts_with("the log"), "round {round}: {message:?}");
                assert!(!message.contains('\n'), "round {round}: {message:?}");
                refused += 1;
            }
            Err(_) => panic!("round {round}: {:?}", String::from_utf8_lossy(log)),
        }
    }
    // Both kinds occur, else this tests nothing.
    assert!(
        used > 50 && refused > 2_000,
        "{used} used, {refused} refused"
    );
}

/// Takes the log as the program would. What passes the check must not fail later.
fn use_all(log: &XesLog) -> Result<(), String> {
    log.check().map_err(|error| error.to_string())?;
    for application in log.applications().unwrap() {
        let application = application.unwrap();
        let state = application
            .activities
            .iter()
            .map(|activity| event_of(&application, activity))
            .fold(LoanState2011::default(), |state, event| {
                Loan2011::apply(state, &event)
            });
        loan_2011_to_2012(state).unwrap();
    }
    Ok(())
}

fn broken(whole: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut log = whole.to_vec();
    for _ in 0..=dice.below(2) {
        let at = dice.below(log.len());
        match dice.below(5) {
            0 => log.truncate(at.max(1)),
            1 => log[at] = u8::try_from(dice.below(256)).unwrap(),
            2 => {
                let end = log.len().min(at + 1 + dice.below(200));
                log.drain(at..end);
                log.push(b'\n');
            }
            3 => {
                let tag = log[..at].iter().rposition(|byte| *byte == b'<');
                let at = tag.unwrap_or(at);
                log.splice(at..at, PIECES[dice.below(PIECES.len())].bytes());
            }
            _ => {
                log.splice(at..at, PIECES[dice.below(PIECES.len())].bytes());
            }
        }
    }
    log
}

/// Xorshift, by Marsaglia (2003): the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}
