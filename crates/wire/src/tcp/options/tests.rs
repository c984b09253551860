//! Tests.
use super::*;
use proptest::prelude::*;

fn emitted(options: &TcpOptions) -> alloc::vec::Vec<u8> {
    let mut buffer = [0xee; TcpOptions::MAX_LEN];
    let len = options.emit(&mut buffer);
    assert!(buffer[len..].iter().all(|byte| *byte == 0xee), "wrote behind its length");
    buffer[..len].to_vec()
}

#[test]
fn a_syn_carries_all_in_20_bytes() {
    let options = TcpOptions {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(TcpTimestamps { value: 1, echo: 0 }),
        sack: SackBlocks::new(),
    };
    let expected = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    assert_eq!(emitted(&options), expected);
    assert_eq!(options.len(), 20);
    assert_eq!(TcpOptions::parse(&expected), options);
}

#[test]
fn data_segments_have_aligned_timestamps() {
    let options =
        TcpOptions { timestamps: Some(TcpTimestamps { value: 5, echo: 6 }), ..TcpOptions::default() };
    assert_eq!(emitted(&options), [1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6]);
    assert_eq!(TcpOptions::parse(&emitted(&options)), options);
    assert_eq!(emitted(&TcpOptions::default()), []);
}

#[test]
fn sack_blocks_that_do_not_fit_are_left_out() {
    let sack = (0..4).map(|n| SackBlock { left: n * 10, right: n * 10 + 5 }).collect();
    let mut options = TcpOptions { sack, ..TcpOptions::default() };
    assert_eq!(options.len(), 36);
    assert_eq!(TcpOptions::parse(&emitted(&options)).sack.len(), 4);
    options.timestamps = Some(TcpTimestamps::default());
    assert_eq!(options.len(), 40);
    assert_eq!(TcpOptions::parse(&emitted(&options)).sack[..], sack[..3]);
}

#[test]
fn unknown_options_are_skipped_by_their_length() {
    // RFC 9293 MUST-4 (MSS), MUST-6, and MUST-64: nothing is aligned here.
    let bytes = [253, 5, 9, 9, 9, 2, 4, 5, 180, 254, 2, 3, 3, 9];
    let expected = TcpOptions { mss: Some(1460), window_scale: Some(9), ..TcpOptions::default() };
    assert_eq!(TcpOptions::parse(&bytes), expected);
}

#[test]
fn illegal_lengths_end_the_list() {
    // RFC 9293 MUST-7: what came before counts, what follows can't be told from rubbish.
    for bad in [&[3, 0, 7][..], &[3, 1, 7], &[3, 200, 7], &[3], &[3, 0], &[3, 1]] {
        let mut bytes = alloc::vec![2, 4, 5, 180];
        bytes.extend_from_slice(bad);
        bytes.extend_from_slice(&[4, 2]);
        bytes.truncate(4 + bad.len() + if bad.len() == 1 { 0 } else { 2 });
        assert_eq!(TcpOptions::parse(&bytes), TcpOptions { mss: Some(1460), ..TcpOptions::default() });
    }
}

#[test]
fn a_known_option_of_wrong_length_is_ignored() {
    assert_eq!(TcpOptions::parse(&[2, 3, 5, 5, 10, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2, 0]).mss, None);
    assert!(TcpOptions::parse(&[2, 3, 5, 4, 2, 0, 0, 0]).sack_permitted);
}

#[test]
fn nothing_counts_behind_the_end_of_the_list() {
    // RFC 9293 MUST-4: no-operation, and the end of the list.
    assert_eq!(TcpOptions::parse(&[1, 0, 4, 2]), TcpOptions::default());
    assert!(TcpOptions::parse(&[1, 4, 2, 0]).sack_permitted);
}

/// Any options whose SACK blocks fit.
pub(crate) fn options() -> impl Strategy<Value = TcpOptions> {
    let timestamps = prop::option::of(any::<(u32, u32)>());
    let sack = prop::collection::vec(any::<(u32, u32)>(), 0..=4);
    (any::<(Option<u16>, Option<u8>, bool)>(), timestamps, sack).prop_map(|(rest, timestamps, sack)| {
        let (mss, window_scale, sack_permitted) = rest;
        let sack = sack.into_iter().map(|(left, right)| SackBlock { left, right }).collect();
        let timestamps = timestamps.map(|(value, echo)| TcpTimestamps { value, echo });
        let mut options = TcpOptions { mss, window_scale, sack_permitted, timestamps, sack };
        options.sack.truncate(options.emitted_sack().len());
        options
    })
}

proptest! {
    #[test]
    fn emitted_options_parse_back(options in options()) {
        let bytes = emitted(&options);
        prop_assert_eq!(bytes.len(), options.len());
        prop_assert_eq!(bytes.len() % 4, 0);
        prop_assert!(bytes.len() <= TcpOptions::MAX_LEN);
        prop_assert_eq!(TcpOptions::parse(&bytes), options);
        // The fast path and the general one agree.
        let mut slowly = TcpOptions::default();
        slowly.read_any(&bytes);
        prop_assert_eq!(slowly, options);
        let mut buffer = [0; TcpOptions::MAX_LEN];
        prop_assert_eq!(options.emit_any(&mut buffer), bytes.len());
        prop_assert_eq!(&buffer[..bytes.len()], &bytes[..]);
    }

    #[test]
    fn arbitrary_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..=60)) {
        let options = TcpOptions::parse(&bytes);
        prop_assert!(options.len() <= TcpOptions::MAX_LEN);
        emitted(&options);
    }
}
