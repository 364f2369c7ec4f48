//! Where events go.

use crate::event::Event;

/// Something that events can be given to.
pub trait Sink {
    /// Takes an event. False means that no more are wanted.
    fn event(&mut self, event: &Event<'_>) -> bool;
}

impl<F: FnMut(&Event<'_>) -> bool> Sink for F {
    fn event(&mut self, event: &Event<'_>) -> bool {
        self(event)
    }
}
