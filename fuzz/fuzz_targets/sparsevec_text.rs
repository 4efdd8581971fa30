#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pg_alopex::fuzz::sparsevec_text(data));
