#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _parsed = procagent_sources::procfs::parse::schedstat(data);
});
