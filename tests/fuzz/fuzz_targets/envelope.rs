#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealdesk_protocol::testing::fuzz::envelope(data));
