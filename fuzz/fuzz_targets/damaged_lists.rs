#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pg_alopex::fuzz::damaged_lists(data));
