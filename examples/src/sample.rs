//! A log of the project's own making, so that the program shows something
//! without a download.
//!
//! The bank, its customers and what happens to them are invented. Only the
//! words are those of real loan logs, and everything that can happen does: all
//! activities, all transitions of work items, offers that replace each other,
//! decisions in any order, and the end of summer time.

use std::io::{self, Write};

use chrono::{DateTime, FixedOffset, SecondsFormat, TimeDelta, Utc};

/// How many applications the sample has.
pub const APPLICATIONS: u32 = 240;

/// The sample, a gzipped XES log; `sample-log` writes it.
pub static LOG: &[u8] = include_bytes!("../data/loans-sample.xes.gz");

// The committed sample contains this text.
const HEAD: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
    "<!-- Invented loan applications. Any likeness to real ones is chance. -->\n", // words: allowed
    r#"<log xes.version="1.0" xes.features="" xmlns="http://www.xes-standard.org/">
  <extension name="Concept" prefix="concept" uri="http://www.xes-standard.org/concept.xesext"/>
  <extension name="Lifecycle" prefix="lifecycle" uri="http://www.xes-standard.org/lifecycle.xesext"/>
  <extension name="Organizational" prefix="org" uri="http://www.xes-standard.org/org.xesext"/>
  <extension name="Time" prefix="time" uri="http://www.xes-standard.org/time.xesext"/>
  <classifier name="Activity" keys="concept:name lifecycle:transition"/>
  <string key="concept:name" value="Invented loan applications"/>
"#
);

const COMPLETEREN: &str = "W_Completeren aanvraag";
const NABELLEN: &str = "W_Nabellen offertes";
const INCOMPLEET: &str = "W_Nabellen incomplete dossiers";
const VALIDEREN: &str = "W_Valideren aanvraag";
const LEADS: &str = "W_Afhandelen leads";
const FRAUDE: &str = "W_Beoordelen fraude";
const WIJZIGEN: &str = "W_Wijzigen contractgegevens";

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Writes a log of `applications` applications as plain XES. The output is
/// deterministic, and a longer log begins with the applications of a shorter one.
///
/// # Errors
/// `out` cannot be written.
pub fn write_log(out: &mut impl Write, applications: u32) -> io::Result<()> {
    out.write_all(HEAD.as_bytes())?;
    for index in 0..applications {
        let mut case = Case::submitted(index);
        case.handle();
        out.write_all(case.xml.as_bytes())?;
        out.write_all(b"  </trace>\n")?;
    }
    out.write_all(b"</log>\n")
}

/// An application in the making.
struct Case {
    xml: String,
    now: DateTime<Utc>,
    dice: Dice,
    clerk: u64,
}

/// Whether the application ends here or continues.
#[derive(PartialEq, Eq)]
enum Next {
    End,
    Continue,
}

impl Case {
    fn submitted(index: u32) -> Self {
        let mut dice = Dice(u64::from(index) * 7919 + 11);
        // 2011-10-01T06:00:00Z, and a new application every three hours or so.
        let started = 1_317_448_800 + i64::from(index) * 195 * MINUTE + dice.below(HOUR);
        let registered = DateTime::from_timestamp(started, 0).unwrap_or_default()
            + TimeDelta::milliseconds(dice.below(1000));
        let amount = if dice.random_bool(15) {
            101 + dice.below(9_000)
        } else {
            500 * (2 + dice.below(90))
        };
        let xml = format!(
            "  <trace>\n    <string key=\"concept:name\" value=\"{}\"/>\n    \
             <date key=\"REG_DATE\" value=\"{}\"/>\n    \
             <string key=\"AMOUNT_REQ\" value=\"{amount}\"/>\n",
            500_000 + u64::from(index) * 7,
            dutch(registered),
        );
        let mut case = Self {
            xml,
            now: registered,
            dice,
            clerk: 1,
        };
        if case.dice.random_bool(20) {
            case.wait(3);
        }
        case.status("A_SUBMITTED");
        case.wait(20);
        case.status("A_PARTLYSUBMITTED");
        case.clerk = 2 + case.dice.below(30).unsigned_abs();
        case
    }

    fn handle(&mut self) {
        self.wait(5 * MINUTE);
        if self.dice.random_bool(28) {
            self.status("A_DECLINED");
        } else if self.dice.random_bool(4) {
            // The bank has not reviewed the application yet.
        } else if self.look_into_fraud() == Next::Continue
            && self.follow_lead() == Next::Continue
            && self.complete_application() == Next::Continue
            && self.call_about_offers() == Next::Continue
        {
            self.validate();
        }
    }

    fn look_into_fraud(&mut self) -> Next {
        if !self.dice.random_bool(14) {
            return Next::Continue;
        }
        self.work(FRAUDE, "SCHEDULE");
        self.session(FRAUDE);
        if self.dice.random_bool(40) {
            self.work(FRAUDE, "START");
            self.status("A_DECLINED");
            self.work(FRAUDE, "COMPLETE");
            return Next::End;
        }
        Next::Continue
    }

    fn follow_lead(&mut self) -> Next {
        if !self.dice.random_bool(35) {
            return Next::Continue;
        }
        self.work(LEADS, "SCHEDULE");
        if self.dice.random_bool(12) {
            // The application is declined before a clerk starts the item.
            self.status("A_DECLINED");
            self.work(LEADS, "COMPLETE");
            return Next::End;
        }
        self.session(LEADS);
        if self.dice.random_bool(30) {
            self.session(LEADS);
        }
        if self.dice.random_bool(10) {
            // A completion without a start.
            self.work(LEADS, "COMPLETE");
        }
        Next::Continue
    }

    fn complete_application(&mut self) -> Next {
        self.status("A_PREACCEPTED");
        self.work(COMPLETEREN, "SCHEDULE");
        for _ in 0..self.dice.below(3) {
            self.wait(2 * DAY);
            self.session(COMPLETEREN);
        }
        if self.dice.random_bool(6) {
            return Next::End;
        }
        self.wait(DAY);
        self.work(COMPLETEREN, "START");
        if self.dice.random_bool(30) {
            let ends = self.dice.pick(&["A_CANCELLED", "A_DECLINED"]);
            self.status(ends);
            self.work(COMPLETEREN, "COMPLETE");
            return Next::End;
        }
        self.status("A_ACCEPTED");
        self.wait(5 * MINUTE);
        if self.dice.random_bool(50) {
            self.status("A_FINALIZED");
            self.status("O_SELECTED");
        } else {
            self.status("O_SELECTED");
            self.status("A_FINALIZED");
        }
        self.send_offer();
        self.work(COMPLETEREN, "COMPLETE");
        Next::Continue
    }

    fn send_offer(&mut self) {
        self.wait(2);
        self.status("O_CREATED");
        self.status("O_SENT");
        self.work(NABELLEN, "SCHEDULE");
    }

    fn call_about_offers(&mut self) -> Next {
        for _ in 0..self.dice.below(4) {
            self.wait(6 * DAY);
            if self.dice.random_bool(25) {
                self.work(NABELLEN, "START");
                if self.dice.random_bool(50) {
                    self.status("O_SELECTED");
                    self.status("O_CANCELLED");
                } else {
                    self.status("O_CANCELLED");
                    self.status("O_SELECTED");
                }
                self.send_offer();
                self.work(NABELLEN, "COMPLETE");
            }
            self.session(NABELLEN);
        }
        if self.dice.random_bool(8) {
            return Next::End;
        }
        self.wait(9 * DAY);
        self.work(NABELLEN, "START");
        if self.dice.random_bool(18) {
            self.status("O_CANCELLED");
            self.status("A_CANCELLED");
            self.work(NABELLEN, "COMPLETE");
            return Next::End;
        }
        self.status("O_SENT_BACK");
        self.work(VALIDEREN, "SCHEDULE");
        self.work(NABELLEN, "COMPLETE");
        Next::Continue
    }

    fn validate(&mut self) {
        if self.dice.random_bool(4) {
            return;
        }
        self.wait(3 * DAY);
        self.work(VALIDEREN, "START");
        if self.dice.random_bool(35) {
            self.work(INCOMPLEET, "SCHEDULE");
            self.work(VALIDEREN, "COMPLETE");
            for _ in 0..=self.dice.below(3) {
                self.wait(2 * DAY);
                self.session(INCOMPLEET);
            }
            if self.dice.random_bool(10) {
                return;
            }
            self.work(VALIDEREN, "START");
        }
        if self.dice.random_bool(18) {
            self.status("A_DECLINED");
            self.status("O_DECLINED");
            self.work(VALIDEREN, "COMPLETE");
            return;
        }
        let order = self.dice.pick(&[
            ["A_APPROVED", "A_REGISTERED", "A_ACTIVATED"],
            ["A_REGISTERED", "A_APPROVED", "A_ACTIVATED"],
            ["A_ACTIVATED", "A_REGISTERED", "A_APPROVED"],
            ["A_REGISTERED", "A_ACTIVATED", "A_APPROVED"],
        ]);
        let accepted_first = self.dice.random_bool(50);
        if accepted_first {
            self.status("O_ACCEPTED");
        }
        for status in order {
            self.status(status);
        }
        if !accepted_first {
            self.status("O_ACCEPTED");
        }
        self.work(VALIDEREN, "COMPLETE");
        if self.dice.random_bool(15) {
            self.wait(40 * DAY);
            self.work(WIJZIGEN, "SCHEDULE");
            if self.dice.random_bool(60) {
                self.session(WIJZIGEN);
            }
        }
    }

    fn session(&mut self, item: &str) {
        self.wait(HOUR);
        self.work(item, "START");
        self.wait(9 * MINUTE);
        self.work(item, "COMPLETE");
    }

    fn work(&mut self, item: &str, transition: &str) {
        self.wait(4);
        self.event(item, transition);
    }

    /// A step of the application or of an offer. Several may share a moment.
    fn status(&mut self, activity: &str) {
        self.event(activity, "COMPLETE");
    }

    fn event(&mut self, activity: &str, transition: &str) {
        let at = dutch(self.now);
        self.xml.push_str(&format!(
            "    <event>\n      <string key=\"concept:name\" value=\"{activity}\"/>\n      \
             <string key=\"lifecycle:transition\" value=\"{transition}\"/>\n      \
             <date key=\"time:timestamp\" value=\"{at}\"/>\n      \
             <string key=\"org:resource\" value=\"clerk-{:02}\"/>\n    </event>\n",
            self.clerk
        ));
    }

    /// Advances the time by at least 1 second, and by less than `seconds` + 1.
    fn wait(&mut self, seconds: i64) {
        self.now += TimeDelta::milliseconds(1000 + self.dice.below(seconds * 1000));
    }
}

/// The time in the Netherlands, where summer time ended on 2011-10-30 and
/// began again on 2012-03-25.
fn dutch(at: DateTime<Utc>) -> String {
    const WINTER: std::ops::Range<i64> = 1_319_936_400..1_332_637_200;
    let hours = if WINTER.contains(&at.timestamp()) {
        1
    } else {
        2
    };
    FixedOffset::east_opt(hours * 3600)
        .map_or_else(|| at.fixed_offset(), |offset| at.with_timezone(&offset))
        .to_rfc3339_opts(SecondsFormat::Millis, false)
}

/// A deterministic generator of pseudorandom numbers: SplitMix64, by Steele, Lea
/// and Flood (2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below `limit`, which is positive.
    fn below(&mut self, limit: i64) -> i64 {
        i64::try_from(self.roll() % limit.unsigned_abs()).unwrap_or_default()
    }

    /// `true` with a probability of `percent` percent.
    fn random_bool(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy, const N: usize>(&mut self, from: &[T; N]) -> T {
        from[(self.roll() % N as u64) as usize]
    }
}
