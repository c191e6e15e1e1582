//! Keys of every table.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|key: &[u8]| {
    if let Err(why) = state_migration_formats::keys(key) {
        panic!("a key was accepted wrongly: {why}");
    }
});
