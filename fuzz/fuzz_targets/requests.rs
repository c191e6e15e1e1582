//! Lines that a client of the control socket sends.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let _ = state_migration_formats::request(line);
});
