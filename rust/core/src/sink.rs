//! Where events go.

use crate::event::Event;
use crate::source::rows::Rows;

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

    /// Takes the rows of events with this id. They come to who had [`Merge::project`](crate::merge::Merge::project)
    /// ask for them, at once like those that [`Self::unordered`] takes.
    fn rows(&mut self, id: u16, rows: &Rows) {
        let _ = (id, rows);
    }
}

impl<F: FnMut(&Event<'_>) -> bool> Sink for F {
    fn event(&mut self, event: &Event<'_>) -> bool {
        self(event)
    }
}
