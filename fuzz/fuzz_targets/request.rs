#![no_main]

#[path = "../drive.rs"]
#[allow(dead_code, reason = "each target drives one family")]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::request(data));
