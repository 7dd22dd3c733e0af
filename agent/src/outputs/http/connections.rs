//! Who is connected. When there is no room, the connection that has been without a request longest gives way, so
//! that clients which connect and say nothing cannot keep a real one out. Requests may hold half of the places: were
//! it more, clients that do not read what they asked for would leave newcomers no time to speak.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;

/// All open connections, at most `limit`. Clones share them.
#[derive(Clone, Debug)]
pub struct Connections {
    state: Arc<Mutex<State>>,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<u64, Open>,
    /// Counts what happens: the order of events is all that choosing takes.
    events: u64,
    /// Counts the calls of [`Connections::drop_overdue`].
    rounds: u64,
}

#[derive(Debug)]
struct Open {
    task: Option<AbortHandle>,
    doing: Doing,
}

#[derive(Clone, Copy, Debug)]
enum Doing {
    /// No request in flight since this event.
    Nothing { since: u64 },
    /// A request in flight since this event and round.
    Request { since: u64, round: u64 },
}

impl Doing {
    fn is_request(self) -> bool {
        matches!(self, Doing::Request { .. })
    }

    fn since(self) -> u64 {
        match self {
            Doing::Nothing { since } | Doing::Request { since, .. } => since,
        }
    }
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
pub struct Place {
    connections: Connections,
    id: u64,
}

/// A request in flight, from its head to the last piece of its response.
#[derive(Debug)]
pub struct InFlight(Arc<Place>);

impl Connections {
    /// Room for this many.
    pub fn new(limit: usize) -> Connections {
        Connections { state: Arc::default(), limit: limit.max(1) }
    }

    /// A place for a new connection. When full, another loses its own: the one without a request for the longest
    /// time, or, where more than half have one, the one whose request takes longest.
    pub fn enter(&self) -> Place {
        let mut state = self.lock();
        if state.open.len() >= self.limit {
            let in_flight = state.open.values().filter(|open| open.doing.is_request()).count();
            let crowded = in_flight > self.limit / 2;
            let candidates = state.open.iter().filter(|(_, open)| open.doing.is_request() == crowded);
            let longest = candidates.min_by_key(|(_, open)| open.doing.since()).map(|(id, _)| *id);
            longest.into_iter().for_each(|id| state.drop_connection(id));
        }
        let id = state.event();
        state.open.insert(id, Open { task: None, doing: Doing::Nothing { since: id } });
        Place { connections: self.clone(), id }
    }

    /// Says which task serves the connection, so that it can be ended.
    pub fn started(&self, id: u64, task: AbortHandle) {
        match self.lock().open.get_mut(&id) {
            Some(open) => open.task = Some(task),
            // It lost its place already.
            None => task.abort(),
        }
    }

    /// Ends the connections whose request has been in flight for more than `rounds` calls of this.
    pub fn drop_overdue(&self, rounds: u64) {
        let mut state = self.lock();
        state.rounds += 1;
        let now = state.rounds;
        let overdue =
            |open: &Open| matches!(open.doing, Doing::Request { round, .. } if now - round > rounds);
        let ids: Vec<u64> = state.open.iter().filter(|(_, open)| overdue(open)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| state.drop_connection(id));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    fn drop_connection(&mut self, id: u64) {
        if let Some(Open { task: Some(task), .. }) = self.open.remove(&id) {
            task.abort();
        }
    }
}

impl Place {
    /// The number for [`Connections::started`].
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Marks a request as in flight until the result is dropped.
    pub fn request(self: &Arc<Place>) -> InFlight {
        let mut state = self.connections.lock();
        let (since, round) = (state.event(), state.rounds);
        if let Some(open) = state.open.get_mut(&self.id) {
            open.doing = Doing::Request { since, round };
        }
        drop(state);
        InFlight(Arc::clone(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().open.remove(&self.id);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.connections.lock();
        let since = state.event();
        if let Some(open) = state.open.get_mut(&self.0.id) {
            open.doing = Doing::Nothing { since };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(connections: &Connections) -> Vec<u64> {
        let mut ids: Vec<u64> = connections.lock().open.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn the_longest_without_a_request_gives_way() {
        let connections = Connections::new(3);
        let [a, b, c] = [(); 3].map(|()| Arc::new(connections.enter()));
        drop(a.request());
        let in_flight = b.request();
        // c has never asked for anything.
        let d = Arc::new(connections.enter());
        assert_eq!(open(&connections), [a.id, b.id, d.id]);
        let e = Arc::new(connections.enter());
        assert_eq!(open(&connections), [b.id, d.id, e.id], "a was idle before d came");
        drop((in_flight, c, a));
        assert_eq!(
            open(&connections),
            [b.id, d.id, e.id],
            "those that lost their place leave nothing behind"
        );
        let _f = connections.enter();
        assert!(!open(&connections).contains(&d.id), "b had a request after d came");
    }

    #[test]
    fn the_slowest_request_gives_way_when_more_than_half_have_one() {
        let connections = Connections::new(4);
        let [a, b, c, d] = [(); 4].map(|()| Arc::new(connections.enter()));
        let _requests = (b.request(), a.request(), c.request());
        let e = connections.enter();
        assert_eq!(open(&connections), [a.id, c.id, d.id, e.id], "not d, which has had no time to speak");
        let f = connections.enter();
        assert_eq!(open(&connections), [a.id, c.id, e.id, f.id]);
    }

    #[test]
    fn overdue_requests_end() {
        let connections = Connections::new(3);
        let [a, b] = [(); 2].map(|()| Arc::new(connections.enter()));
        let _request = a.request();
        connections.drop_overdue(2);
        connections.drop_overdue(2);
        assert_eq!(open(&connections), [a.id, b.id]);
        connections.drop_overdue(2);
        assert_eq!(open(&connections), [b.id]);
    }
}
