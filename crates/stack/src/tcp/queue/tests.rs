use super::*;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

/// Bytes of blocks that chunks in the queue keep alive: a run in one block counts once.
fn pinned(queue: &ChunkQueue) -> usize {
    let chunks: Vec<Chunk> = queue.range(queue.start(), queue.end()).collect();
    let new_run = |i: usize| i == 0 || !chunks[i].follows(&chunks[i - 1]);
    (0..chunks.len()).filter(|&i| new_run(i)).map(|i| chunks[i].block_len()).sum()
}

#[test]
fn an_empty_queue_owns_nothing() {
    let mut queue = ChunkQueue::at(7);
    for _ in 0..100 {
        queue.push_back(Chunk::from_static(b"abc"));
    }
    queue.skip(299);
    assert_eq!((queue.start(), queue.len(), queue.count()), (306, 1, 1));
    assert_eq!(queue.take(9).to_vec(), b"c");
    assert_eq!((queue.rest.is_none(), queue.charged(), queue.start()), (true, 0, 307));
}

#[test]
fn a_run_in_one_block_is_charged_once() {
    let block = Chunk::from(vec![1; 4096]);
    let mut queue = ChunkQueue::default();
    queue.push_back(block.slice(0..10));
    assert_eq!(queue.charged(), 1024 + ENTRY_COST);
    // Another view of the same memory: it follows, but is no part of the same chunk.
    queue.push_back(Chunk::new(block.clone().into_bytes().slice(10..30), 4096));
    assert_eq!(queue.charged(), 1024 + 20 + 2 * ENTRY_COST);
    queue.pop_front();
    assert_eq!(queue.charged(), 1024 + 20 + ENTRY_COST);
    queue.pop_front();
    assert_eq!(queue.charged(), 0);
}

#[test]
fn parts_of_one_chunk_become_one_entry() {
    let whole = Chunk::from(vec![1; 4096]);
    let mut queue = ChunkQueue::default();
    (0..4).for_each(|i| queue.push_back(whole.slice(i * 1024..(i + 1) * 1024)));
    assert_eq!((queue.count(), queue.charged()), (1, 4096 + ENTRY_COST));
    assert_eq!(queue.take(4000).chunks().count(), 1);
    assert_eq!(queue.take(4000).len(), 96);
    assert_eq!(queue.charged(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    PushBack(usize, usize),
    PopBack,
    Take(usize),
    Skip(usize),
    Append(usize),
    Prepend(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..900, 1_usize..400).prop_map(|(at, len)| Step::PushBack(at, len)),
        1 => Just(Step::PopBack),
        2 => (0_usize..600).prop_map(Step::Take),
        1 => (0_usize..600).prop_map(Step::Skip),
        1 => (0_usize..5).prop_map(Step::Append),
        1 => (0_usize..5).prop_map(Step::Prepend),
    ]
}

/// An idle connection is to cost little, and a busy one no more than it has to.
#[test]
fn buffers_are_small() {
    assert!(size_of::<crate::tcp::send::SendBuffer>() <= 136);
    assert!(size_of::<crate::tcp::recv::RecvBuffer>() <= 144);
    assert!(size_of::<crate::tcp::rtt::RttEstimator>() <= 48);
    assert!(size_of::<crate::tcp::congestion::Congestion>() <= 88);
}

proptest! {
    #[test]
    fn behaves_as_a_list_of_bytes(steps in proptest::collection::vec(step(), 0..80)) {
        let block = Chunk::from((0..2000_u32).map(|i| (i * 7) as u8).collect::<Vec<u8>>());
        let base = 1 << 40;
        let (mut queue, mut model, mut start) = (ChunkQueue::at(base), Vec::<u8>::new(), base);
        let mut cut = 0;
        for step in steps {
            let (charged, mut taking) = (queue.charged(), false);
            match step {
                // Every other chunk continues where the last one ended.
                Step::PushBack(at, len) => {
                    let at = if at % 2 == 0 { at } else { cut };
                    cut = (at + len) % 1500;
                    let chunk = block.slice(at..at + len);
                    model.extend_from_slice(&chunk);
                    queue.push_back(chunk);
                }
                Step::PopBack => {
                    let chunk = queue.pop_back().unwrap_or_default();
                    prop_assert!(model.ends_with(&chunk));
                    model.truncate(model.len() - chunk.len());
                }
                Step::Take(n) => {
                    taking = true;
                    let n = n.min(model.len());
                    prop_assert_eq!(queue.take(n).to_vec(), model.drain(..n).collect::<Vec<u8>>());
                    start += n as u64;
                }
                Step::Skip(n) => {
                    taking = true;
                    queue.skip(n);
                    start += model.drain(..n.min(model.len())).len() as u64;
                }
                Step::Append(n) => {
                    let mut other = ChunkQueue::at(queue.end());
                    (0..n).for_each(|_| other.push_back(block.slice(..9)));
                    queue.append(other);
                    (0..n).for_each(|_| model.extend_from_slice(&block[..9]));
                }
                Step::Prepend(n) => {
                    let mut other = ChunkQueue::at(queue.start() - 9 * n as u64);
                    (0..n).for_each(|_| other.push_back(block.slice(..9)));
                    queue.prepend(other);
                    (0..n).for_each(|_| { model.splice(0..0, block[..9].iter().copied()); });
                    start -= 9 * n as u64;
                }
            }
            prop_assert_eq!((queue.start(), queue.len()), (start, model.len()));
            prop_assert!(!taking || queue.charged() <= charged);
            prop_assert!(pinned(&queue) <= 4 * queue.charged(), "{} {}", pinned(&queue), queue.charged());
            prop_assert!(queue.charged() >= model.len());
            let (from, to) = (model.len() / 3, model.len() - model.len() / 4);
            let part: Payload = queue.range(start + from as u64, start + to as u64).collect();
            prop_assert_eq!(part.to_vec(), model[from..to].to_vec());
        }
        queue.skip(usize::MAX);
        prop_assert_eq!((queue.charged(), queue.count()), (0, 0));
    }
}
