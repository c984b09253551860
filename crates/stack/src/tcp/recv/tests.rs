use super::*;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec;
use proptest::prelude::*;

const NO_LIMIT: usize = usize::MAX / 2;

fn stream(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|i| (i % 251) as u8).collect()
}

fn insert(buffer: &mut RecvBuffer, offset: u32, len: usize) -> Inserted {
    let from = buffer.next() as usize + offset as usize;
    buffer.insert(offset, &mut Chunk::from(stream(from, len)).into(), NO_LIMIT)
}

fn advanced(advanced: u32) -> Inserted {
    Inserted { advanced, ..Inserted::default() }
}

fn ahead(duplicate: Option<Range<u32>>) -> Inserted {
    Inserted { duplicate, ..Inserted::default() }
}

#[test]
fn segments_in_order_are_kept_without_copying() {
    let mut buffer = RecvBuffer::default();
    let block = Chunk::from(stream(0, 14_600));
    for i in 0..10 {
        let segment = block.slice(i * 1460..(i + 1) * 1460);
        assert_eq!(buffer.insert(0, &mut segment.into(), NO_LIMIT), advanced(1460));
    }
    assert_eq!(buffer.len(), 14_600);
    assert_eq!(buffer.peek(3).to_vec(), [0, 1, 2]);
    let all = buffer.read(usize::MAX);
    assert_eq!(all, Payload::from(block.clone()));
    assert!(all.chunks().all(|chunk| block.as_ptr_range().contains(&chunk.as_ptr())));
    assert_eq!((buffer.charged(), buffer.len()), (0, 0));
}

#[test]
fn small_parts_of_foreign_blocks_are_copied_together() {
    let mut buffer = RecvBuffer::default();
    let block = Chunk::from(vec![7; 65_536]);
    // Each in its place in the block, with other connections' segments between them.
    for i in 0..30 {
        buffer.insert(0, &mut block.slice(i * 2000..i * 2000 + 1460).into(), NO_LIMIT);
        // The latest is not judged yet.
        assert!(buffer.charged() <= (i + 1) * (1460 + ENTRY_COST) + 16_384);
    }
    let mut tiny = RecvBuffer::default();
    for i in 0..300 {
        tiny.insert(0, &mut block.slice(i * 9..=i * 9).into(), NO_LIMIT);
    }
    assert_eq!((tiny.charged(), tiny.read(300).chunks().count()), (300 + ENTRY_COST, 1));
}

#[test]
fn holes_are_reported_most_recent_first() {
    let mut buffer = RecvBuffer::default();
    for offset in [10, 50, 30, 70, 90] {
        assert_eq!(insert(&mut buffer, offset, 10), ahead(None));
    }
    assert_eq!(buffer.sack_ranges()[..], [90..100, 70..80, 30..40, 50..60]);
    // An island that grows moves to the front, and so does one that arrives again.
    insert(&mut buffer, 40, 5);
    assert_eq!(buffer.sack_ranges()[..], [30..45, 90..100, 70..80, 50..60]);
    assert_eq!(insert(&mut buffer, 70, 10), ahead(Some(70..80)));
    assert_eq!(buffer.sack_ranges()[..], [70..80, 30..45, 90..100, 50..60]);
    // Two that join are one.
    insert(&mut buffer, 80, 10);
    assert_eq!(buffer.sack_ranges()[..], [70..100, 30..45, 50..60]);
    assert_eq!(buffer.out_of_order_len(), 30 + 15 + 10 + 10);
    // The first hole is filled, beyond the island behind it.
    assert_eq!(insert(&mut buffer, 0, 25), Inserted { duplicate: Some(10..20), ..advanced(25) });
    assert_eq!(buffer.sack_ranges()[..], [45..75, 5..20, 25..35]);
    assert_eq!(insert(&mut buffer, 0, 100), Inserted { duplicate: Some(5..20), ..advanced(100) });
    assert!(buffer.sack_ranges().is_empty());
    assert_eq!(buffer.read(1000).to_vec(), stream(0, 125));
    assert_eq!((buffer.charged(), buffer.ahead.is_none()), (0, true));
}

#[test]
fn the_number_of_islands_is_bounded() {
    let mut buffer = RecvBuffer::default();
    let results: Vec<bool> = (1..1000).map(|i| insert(&mut buffer, i * 2, 1).dropped).collect();
    assert_eq!(results.iter().filter(|&&dropped| !dropped).count(), MAX_ISLANDS);
    // Filling holes still works.
    assert_eq!(insert(&mut buffer, 1, 1), ahead(None));
    assert_eq!(insert(&mut buffer, 3, 1), ahead(None));
    assert_eq!(buffer.ahead.as_ref().unwrap().islands.len(), MAX_ISLANDS - 1);
}

#[test]
fn bytes_in_order_displace_those_behind_holes() {
    let mut buffer = RecvBuffer::default();
    let limit = 10_000;
    let segment = |len| Payload::from(Chunk::from(vec![1; len]));
    assert_eq!(buffer.insert(4000, &mut segment(3000), limit), ahead(None));
    assert_eq!(buffer.insert(8000, &mut segment(3000), limit), ahead(None));
    assert!(buffer.insert(15_000, &mut segment(4000), limit).dropped);
    assert_eq!(buffer.out_of_order_len(), 6000);
    // The farther island makes room, the nearer one stays and is joined.
    assert_eq!(buffer.insert(0, &mut segment(4000), limit), advanced(7000));
    assert_eq!((buffer.out_of_order_len(), buffer.sack_ranges().len()), (0, 0));
    assert_eq!(buffer.insert(0, &mut segment(9000), limit), Inserted { dropped: true, ..advanced(0) });
    buffer.read(usize::MAX);
    assert_eq!(buffer.insert(0, &mut segment(20_000), limit).advanced, 20_000);
}

/// Bytes as a map from position to value, and where the reader and RCV.NXT are.
#[derive(Default)]
struct Model {
    bytes: BTreeMap<usize, u8>,
    read: usize,
    next: usize,
}

impl Model {
    fn insert(&mut self, start: usize, data: &[u8]) -> (u32, Option<Range<u32>>) {
        let mut duplicate: Option<Range<usize>> = None;
        for (position, &byte) in (start..).zip(data) {
            if let Entry::Vacant(entry) = self.bytes.entry(position) {
                entry.insert(byte);
                continue;
            }
            match &mut duplicate {
                None => duplicate = Some(position..position + 1),
                Some(range) if range.end == position => range.end += 1,
                Some(_) => {}
            }
        }
        let before = self.next;
        while self.bytes.contains_key(&self.next) {
            self.next += 1;
        }
        let relative = |range: Range<usize>| (range.start - before) as u32..(range.end - before) as u32;
        ((self.next - before) as u32, duplicate.map(relative))
    }

    /// Islands relative to RCV.NXT, lowest first.
    fn islands(&self) -> Vec<Range<u32>> {
        let mut islands = Vec::<Range<u32>>::new();
        for position in self.bytes.range(self.next..).map(|(&position, _)| (position - self.next) as u32) {
            match islands.last_mut() {
                Some(last) if last.end == position => last.end += 1,
                _ => islands.push(position..position + 1),
            }
        }
        islands
    }
}

/// Memory that the buffer keeps alive, runs in one block counted once.
fn pinned(buffer: &RecvBuffer) -> usize {
    let queues = core::iter::once(&buffer.ready).chain(buffer.ahead.iter().flat_map(|ahead| &ahead.islands));
    let blocks = queues.map(|queue| {
        let chunks: Vec<Chunk> = queue.range(queue.start(), queue.end()).collect();
        let new_run = |i: usize| i == 0 || !chunks[i].follows(&chunks[i - 1]);
        (0..chunks.len()).filter(|&i| new_run(i)).map(|i| chunks[i].block_len()).sum::<usize>()
    });
    blocks.sum::<usize>() + buffer.tail.capacity()
}

#[derive(Clone, Debug)]
enum Step {
    Insert { offset: u32, len: usize, cuts: Vec<usize>, spare: usize },
    Read(usize),
    Peek(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let offset = prop_oneof![2 => Just(0), 3 => 0_u32..60, 2 => 0_u32..3000];
    let len = prop_oneof![1_usize..8, 1_usize..120, 500_usize..1500];
    let cuts = proptest::collection::vec(0_usize..1500, 0..3);
    let spare = prop_oneof![Just(0_usize), Just(100), Just(9000)];
    let read = prop_oneof![1_usize..50, 1_usize..4000];
    prop_oneof![
        6 => (offset, len, cuts, spare).prop_map(|(offset, len, cuts, spare)| {
            Step::Insert { offset, len, cuts, spare }
        }),
        2 => read.prop_map(Step::Read),
        1 => (0_usize..2000).prop_map(Step::Peek),
    ]
}

/// The data as a payload of several chunks in one block with `spare` bytes besides them.
fn payload(data: &[u8], cuts: &[usize], spare: usize) -> Payload {
    let mut block = data.to_vec();
    block.resize(data.len() + spare, 0);
    let whole = Chunk::from(block).slice(..data.len());
    let mut cuts: Vec<usize> = cuts.iter().map(|&cut| cut.min(data.len())).chain([0, data.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| whole.slice(cut[0]..cut[1])).collect()
}

proptest! {
    #[test]
    fn behaves_as_a_map_of_bytes(steps in proptest::collection::vec(step(), 0..120)) {
        let (mut buffer, mut model) = (RecvBuffer::default(), Model::default());
        for step in steps {
            match step {
                Step::Insert { offset, len, cuts, spare } => {
                    let start = model.next + offset as usize;
                    let data = stream(start, len);
                    let result = buffer.insert(offset, &mut payload(&data, &cuts, spare), NO_LIMIT);
                    let (advanced, duplicate) = model.insert(start, &data);
                    prop_assert_eq!(&result, &Inserted { advanced, duplicate, dropped: false });
                    let (reported, islands) = (buffer.sack_ranges(), model.islands());
                    prop_assert!(reported.iter().all(|range| islands.contains(range)));
                    prop_assert!(reported.len() <= islands.len());
                    let end = (start + len).saturating_sub(model.next) as u32;
                    if end > 0 {
                        prop_assert!(reported[0].contains(&(end - 1)), "{:?} {}", reported, end);
                    }
                }
                Step::Read(max) => {
                    let charged = buffer.charged();
                    let n = max.min(model.next - model.read);
                    prop_assert_eq!(buffer.read(max).to_vec(), stream(model.read, n));
                    prop_assert!(buffer.charged() <= charged);
                    model.read += n;
                }
                Step::Peek(max) => {
                    let n = max.min(model.next - model.read);
                    prop_assert_eq!(buffer.peek(max).to_vec(), stream(model.read, n));
                }
            }
            let ahead: usize = model.islands().iter().map(ExactSizeIterator::len).sum();
            prop_assert_eq!((buffer.len(), buffer.out_of_order_len()), (model.next - model.read, ahead));
            prop_assert!(pinned(&buffer) <= 4 * buffer.charged(), "{} {}", pinned(&buffer), buffer.charged());
        }
    }

    /// Whatever arrives, the charge stays in its limit and what is acknowledged is right.
    #[test]
    fn keeps_to_its_limit(steps in proptest::collection::vec(step(), 0..200), limit in 2000_usize..12_000) {
        let (mut buffer, mut read) = (RecvBuffer::default(), 0);
        for step in steps {
            match step {
                Step::Insert { offset, len, cuts, spare } => {
                    let (next, was_empty) = (buffer.next(), buffer.is_empty());
                    let data = stream(next as usize + offset as usize, len);
                    let result = buffer.insert(offset, &mut payload(&data, &cuts, spare), limit);
                    prop_assert_eq!(u64::from(result.advanced), buffer.next() - next);
                    prop_assert!(offset > 0 || !was_empty || result.advanced > 0);
                    prop_assert!(result.dropped || offset > 0 || result.advanced as usize >= len);
                    prop_assert!(buffer.charged() <= limit, "{} {}", buffer.charged(), limit);
                }
                Step::Read(max) | Step::Peek(max) => {
                    let got = buffer.read(max).to_vec();
                    prop_assert_eq!(&got, &stream(read, got.len()));
                    read += got.len();
                }
            }
            let islands: (usize, usize) = buffer.ahead.iter().flat_map(|ahead| &ahead.islands).fold((0, 0), |(len, charge), island| {
                (len + island.len(), charge + island.charged())
            });
            prop_assert_eq!(islands, buffer.ahead.as_ref().map_or((0, 0), |ahead| (ahead.len, ahead.charge)));
            prop_assert!(pinned(&buffer) <= 4 * buffer.charged());
        }
    }
}
