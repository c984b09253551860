#![allow(missing_docs)]
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(sockeye_stack::fuzzing::ip(data)));
