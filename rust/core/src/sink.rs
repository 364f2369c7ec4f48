//! Where events go.

use crate::event::Event;

/// Something that events can be given to.
pub trait Sink {
    /// Takes an event. False means that no more are wanted.
    fn event(&mut self, event: &Event<'_>) -> bool;

    /// Takes an event as soon as it is read, if the order of time is nothing to whoever gets it. False when it is: then
    /// it comes again, in its turn.
    fn unordered(&mut self, event: &Event<'_>) -> bool {
        let _ = event;
        false
    }
}

impl<F: FnMut(&Event<'_>) -> bool> Sink for F {
    fn event(&mut self, event: &Event<'_>) -> bool {
        self(event)
    }
}
