//! How [lanes](crate::lane) are opened.

use super::{Core, Scratch};
use crate::clock::Clock;
use crate::host::HostCore;
use crate::lane::{Lane, NoLane};
use crate::nic::nic_id;
use sockeye_stack::SocketId;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Core {
    /// Opens a lane for what a socket sends to an address or its peer, if there can be one.
    pub(crate) fn open_lane(
        &self,
        host: &HostCore,
        id: SocketId,
        to: Option<SocketAddr>,
    ) -> Result<Arc<Lane>, NoLane> {
        let clock = self.clock.real_copy().ok_or(NoLane::Unfit)?;
        // Nobody moves the host's packets: none is between its stack and the wire.
        let token = host.try_token().ok_or(NoLane::Busy)?;
        let mut scratch = Scratch::take();
        let lane = self.lay_lane(host, (id, to), clock, &mut scratch.queue);
        drop(token);
        if host.work.load(Ordering::SeqCst) {
            scratch.queue.push_back(host.index);
        }
        self.finish(self.clock.now(), scratch);
        lane
    }

    /// Tells who waits for the receiver of a lane that something has come.
    pub(crate) fn announce(&self, lane: &Lane) {
        let Some(host) = lane.receiver().and_then(|receiver| self.host(receiver.host)) else { return };
        let mut scratch = Scratch::take();
        host.lock_beside_lanes().announce(lane, &mut scratch.wakers);
        scratch.finish();
    }

    /// Lays a lane from one end to the other. At each it is known before the next is looked at, so that whoever changes
    /// something there meanwhile closes it. Tokens are only tried here, so that two don't wait for each other.
    fn lay_lane(
        &self,
        near: &HostCore,
        (id, to): (SocketId, Option<SocketAddr>),
        clock: Clock,
        queue: &mut VecDeque<u32>,
    ) -> Result<Arc<Lane>, NoLane> {
        let mut state = near.lock_beside_lanes();
        let way = state.stack.plain_way(id, to.map(Into::into)).filter(|_| !state.is_down);
        let way = way.ok_or(NoLane::Unfit)?;
        let mut nics = near.nics.iter().enumerate();
        let place = nics.position(|(at, nic)| nic_id(at) == way.nic && nic.link.is_none());
        let place = place.ok_or(NoLane::Unfit)?;
        let lane = Arc::new(Lane::new(way, clock));
        state.begin_lane(&lane);
        drop(state);
        let reached = if near.taps.is_empty() {
            self.reach(near.index, place, &lane, queue)
        } else {
            Err(NoLane::Unfit)
        };
        if reached.is_err() {
            lane.close();
        }
        reached.map(|()| lane)
    }

    /// Lays a lane over the wire and opens it at its far end.
    fn reach(
        &self,
        near: u32,
        place: usize,
        lane: &Arc<Lane>,
        queue: &mut VecDeque<u32>,
    ) -> Result<(), NoLane> {
        let to = SocketAddr::from(lane.way().to).ip();
        let way = self.wire.clear_way(near, place, to);
        let far = way.and_then(|(index, _)| self.host(index)).ok_or(NoLane::Unfit)?;
        let token = far.try_token().ok_or(NoLane::Busy)?;
        // With the token, for nobody has packets in hand that were fetched from the wire.
        let is_open = match self.wire.lay_lane(near, place, lane) {
            Some((there, place)) if there == far.index => {
                let mut state = far.lock_beside_lanes();
                // Under the lock, which who adds one takes afterwards.
                far.taps.is_empty() && state.open_lane(lane, (there, nic_id(place)))
            }
            _ => false,
        };
        drop(token);
        if far.work.load(Ordering::SeqCst) {
            queue.push_back(far.index);
        }
        if is_open { Ok(()) } else { Err(NoLane::Unfit) }
    }
}

#[cfg(all(test, not(sockeye_model)))]
mod tests;
