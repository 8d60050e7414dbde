//! Records that were written before a rule existed are still read.

use hearthway_core::id::TriggerId;
use hearthway_core::model::{Edge, EdgeState, Few};
use hearthway_core::time::Timestamp;

/// Two edges as they were stored when an edge could only be ready, armed or spent.
const EDGES_OF_VERSION_1: &[u8] = &[
    2, // two edges
    1, b'a', 1, 0xd0, 0x0f, 1, 0xa0, 0x1f, // `a`: armed since 1000, looked at again at 2000
    1, b'b', 2, 0xd0, 0x0f, 0, // `b`: spent since 1000
];

fn edge(state: EdgeState, again_at: Option<i64>) -> Edge {
    Edge { state, since: Timestamp(1_000), again_at: again_at.map(Timestamp) }
}

#[test]
fn edges_stored_before_there_were_more_states_are_read_and_written_as_they_were() {
    let read: Few<TriggerId, Edge> = postcard::from_bytes(EDGES_OF_VERSION_1).unwrap();
    let [a, b] = ["a", "b"].map(|id| TriggerId::new(id).unwrap());
    assert_eq!(read.get(&a), Some(&edge(EdgeState::Armed, Some(2_000))));
    assert_eq!(read.get(&b), Some(&edge(EdgeState::Spent, None)));
    assert_eq!(postcard::to_stdvec(&read).unwrap(), EDGES_OF_VERSION_1);
}

#[test]
fn each_state_keeps_its_number_on_disk() {
    let counting = EdgeState::Counting { ready: true, times: vec![Timestamp(1)] };
    let states = [
        EdgeState::Ready,
        EdgeState::Armed,
        EdgeState::Spent,
        EdgeState::Unsure,
        EdgeState::Staying,
        counting,
        EdgeState::Listening,
    ];
    let numbers: Vec<u8> = states.iter().map(|state| postcard::to_stdvec(state).unwrap()[0]).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
    for state in states {
        assert_eq!(postcard::from_bytes::<EdgeState>(&postcard::to_stdvec(&state).unwrap()).unwrap(), state);
    }
}
