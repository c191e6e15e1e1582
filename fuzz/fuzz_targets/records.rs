//! Records of every format: the first byte says which one, the rest is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use state_migration_formats::FORMATS;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, record)) = bytes.split_first() else {
        return;
    };
    let format = &FORMATS[usize::from(*first) % FORMATS.len()];
    if let Err(why) = (format.decode)(record) {
        panic!("{} was accepted wrongly: {why}", format.name);
    }
});
