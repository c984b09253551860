use super::*;
use alloc::vec;
use proptest::prelude::*;

fn push(buffer: &mut SendBuffer, data: &[u8], limit: usize) -> usize {
    buffer.push(&mut VecDeque::from([Chunk::copy_from(data)]), limit)
}

#[test]
fn one_byte_writes_make_one_chunk() {
    let mut buffer = SendBuffer::default();
    for byte in 0..100 {
        assert_eq!(push(&mut buffer, &[byte], 1000), 1);
    }
    let all = buffer.slice(1, 99);
    assert_eq!(all.chunks().count(), 1);
    assert_eq!(all.to_vec(), (1..100).collect::<Vec<u8>>());
    assert_eq!(buffer.queue.count(), 2);
}

#[test]
fn large_chunks_and_a_lone_one_are_not_copied() {
    for len in [1, KEPT_LEN, 65_536] {
        let chunk = Chunk::from(vec![1; len]);
        let mut buffer = SendBuffer::default();
        buffer.push(&mut VecDeque::from([chunk.clone()]), usize::MAX);
        assert_eq!(buffer.slice(0, len).into_chunk().as_ptr(), chunk.as_ptr());
    }
}

#[test]
fn a_small_part_of_a_large_block_does_not_pin_it() {
    let block = Chunk::from(vec![1; 65_536]);
    for len in [10, Chunk::FEW, Chunk::FEW + 1, KEPT_LEN - 1] {
        let mut buffer = SendBuffer::default();
        buffer.push(&mut VecDeque::from([block.slice(..len)]), usize::MAX);
        assert!(buffer.charged() < len + 200, "{}", buffer.charged());
        let charged = buffer.charged();
        assert!(buffer.slice(0, len).into_chunk().block_len() < len + 200);
        assert_eq!((buffer.slice(0, len).to_vec(), buffer.charged()), (vec![1; len], charged));
    }
}

#[test]
fn a_chunk_that_does_not_fit_is_split() {
    let mut buffer = SendBuffer::default();
    let mut chunks =
        VecDeque::from([Chunk::default(), Chunk::from(vec![1; 5000]), Chunk::from(vec![2; 5000])]);
    assert_eq!(buffer.push(&mut chunks, 7000), 7000);
    assert_eq!((chunks.len(), chunks[0].len()), (1, 3000));
    assert_eq!(buffer.push(&mut chunks, 7000), 0);
    buffer.advance(1);
    assert_eq!(buffer.push(&mut chunks, 7000), 1);
    assert_eq!(buffer.push(&mut chunks, 6000), 0);
}

#[test]
fn many_small_parts_are_sent_as_one() {
    let mut buffer = SendBuffer::default();
    for byte in 0..200 {
        push(&mut buffer, &[byte], 1000);
        // Sent at once, as with TCP_NODELAY.
        assert_eq!(buffer.slice(byte as usize, 1).to_vec(), [byte]);
    }
    let again = buffer.slice(0, 200);
    assert_eq!((again.chunks().count(), again.len()), (1, 200));
}

#[test]
fn an_acknowledged_buffer_owns_nothing() {
    let mut buffer = SendBuffer::default();
    for _ in 0..50 {
        push(&mut buffer, &[1; 3000], usize::MAX);
        push(&mut buffer, &[1; 30], usize::MAX);
    }
    assert!(buffer.charged() > 150_000);
    buffer.advance(usize::MAX);
    assert_eq!((buffer.len(), buffer.charged(), buffer.tail.capacity()), (0, 0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<usize>, usize),
    Slice(usize, usize),
    Advance(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0_usize..4, 0_usize..300, 1500_usize..9000];
    prop_oneof![
        3 => (proptest::collection::vec(len, 0..4), 0_usize..40_000).prop_map(|(l, limit)| Step::Push(l, limit)),
        2 => (0_usize..30_000, 0_usize..30_000).prop_map(|(offset, len)| Step::Slice(offset, len)),
        1 => (0_usize..9_000).prop_map(Step::Advance),
    ]
}

proptest! {
    #[test]
    fn behaves_as_a_vector(steps in proptest::collection::vec(step(), 0..60)) {
        let (mut buffer, mut model, mut next) = (SendBuffer::default(), Vec::<u8>::new(), 0_u32);
        for step in steps {
            match step {
                Step::Push(lens, limit) => {
                    let mut chunks: VecDeque<Chunk> = lens.iter().map(|&len| {
                        let bytes: Vec<u8> = (next..next + len as u32).map(|i| (i / 3) as u8).collect();
                        next += len as u32;
                        Chunk::from(bytes)
                    }).collect();
                    let all: Vec<u8> = chunks.iter().flat_map(|c| c.iter().copied()).collect();
                    let taken = buffer.push(&mut chunks, limit);
                    prop_assert_eq!(taken, all.len().min(limit.saturating_sub(model.len())));
                    model.extend_from_slice(&all[..taken]);
                    let left: Vec<u8> = chunks.iter().flat_map(|c| c.iter().copied()).collect();
                    prop_assert_eq!(&left[..], &all[taken..]);
                }
                Step::Slice(offset, len) => {
                    let charged = buffer.charged();
                    let end = (offset + len).min(model.len());
                    let expected = model.get(offset..end).unwrap_or_default();
                    prop_assert_eq!(buffer.slice(offset, len).to_vec(), expected.to_vec());
                    prop_assert_eq!(buffer.charged(), charged);
                }
                Step::Advance(n) => {
                    let charged = buffer.charged();
                    buffer.advance(n);
                    prop_assert!(buffer.charged() <= charged);
                    model.drain(..n.min(model.len()));
                }
            }
            prop_assert_eq!(buffer.len(), model.len());
            prop_assert!(buffer.charged() >= model.len());
        }
    }
}
