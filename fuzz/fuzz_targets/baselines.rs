//! Payloads of `$migrated` events.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    if let Err(why) = state_migration_formats::baseline(payload) {
        panic!("a baseline was accepted wrongly: {why}");
    }
});
