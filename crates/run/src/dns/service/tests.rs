use super::*;

#[test]
fn queries_are_cut_out_of_the_stream() {
    let mut input = vec![0, 3, 1, 2, 3, 0, 0, 0, 2, 9];
    assert_eq!(next_query(&mut input), Some(vec![1, 2, 3]));
    assert_eq!(next_query(&mut input), Some(vec![]));
    assert_eq!(next_query(&mut input), None);
    input.push(8);
    assert_eq!(next_query(&mut input), Some(vec![9, 8]));
    assert_eq!(next_query(&mut input), None);
    assert!(input.is_empty());
}
