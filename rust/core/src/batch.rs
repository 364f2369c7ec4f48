//! Events that travel together. In: events in the order of time. Out: one buffer, shared by all who view it.

use std::sync::Arc;

use crate::event::{Event, Layouts};
use crate::source::Entry;
use crate::stack::StackTable;

/// Events in the order of time, and what is needed to read them.
#[derive(Debug)]
pub struct Batch {
    layouts: Arc<Layouts>,
    stacks: Arc<StackTable>,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Batch {
    /// The number of events.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the buffer.
    pub fn nbytes(&self) -> usize {
        self.bytes.len() + size_of_val(self.entries.as_slice())
    }

    /// An event; none behind the end.
    #[inline]
    pub fn event(&self, index: usize) -> Option<Event<'_>> {
        let (entry, bytes) = self.place(index)?;
        Some(Event { layout: self.layouts.get(entry.vouched)?, cpu: entry.cpu, bytes })
    }

    /// An event's id and its record, for whoever needs no more of it; none behind the end.
    #[inline]
    pub fn id_and_record(&self, index: usize) -> Option<(u16, &[u8])> {
        self.place(index).map(|(entry, bytes)| (entry.vouched, bytes))
    }

    /// An event's record; no bytes behind the end.
    #[inline]
    pub fn record(&self, index: usize) -> &[u8] {
        self.place(index).map(|(_, bytes)| bytes).unwrap_or_default()
    }

    /// The entry has the event's id, as the builder put it there.
    #[inline]
    fn place(&self, index: usize) -> Option<(&Entry, &[u8])> {
        let entry = self.entries.get(index)?;
        let bytes = self.bytes.get(entry.start as usize..entry.start as usize + entry.length as usize)?;
        Some((entry, bytes))
    }

    /// The CPU of an event; 0 behind the end.
    #[inline]
    pub fn cpu(&self, index: usize) -> u16 {
        self.entries.get(index).map_or(0, |entry| entry.cpu)
    }

    /// All events.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        (0..self.len()).filter_map(|index| self.event(index))
    }

    /// The layouts of its events.
    pub fn layouts(&self) -> &Arc<Layouts> {
        &self.layouts
    }

    /// The stacks that its events name.
    pub fn stacks(&self) -> &Arc<StackTable> {
        &self.stacks
    }
}

/// A batch in the making.
#[derive(Debug)]
pub struct BatchBuilder {
    layouts: Arc<Layouts>,
    stacks: Arc<StackTable>,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// A batch of this size is not kept back for more events.
const FULL: usize = 256 << 10;

impl BatchBuilder {
    /// An empty one.
    pub fn new(layouts: Arc<Layouts>, stacks: Arc<StackTable>) -> Self {
        Self { layouts, stacks, bytes: Vec::new(), entries: Vec::new() }
    }

    /// Appends an event.
    #[inline]
    pub fn push(&mut self, event: &Event<'_>) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(event.bytes);
        self.entries.push(Entry { start, length: event.bytes.len() as u32, cpu: event.cpu, vouched: event.id() });
    }

    /// Whether it is time to send it.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// The batch so far, if it has events; what is left is empty. A full one goes as it is, a small one is copied and
    /// takes no more memory than it needs.
    pub fn finish(&mut self) -> Option<Batch> {
        if self.entries.is_empty() {
            return None;
        }
        let (bytes, entries) = if self.bytes.len() >= FULL / 2 {
            let (room, places) = (self.bytes.capacity(), self.entries.capacity());
            let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(room));
            (bytes, std::mem::replace(&mut self.entries, Vec::with_capacity(places)))
        } else {
            (self.bytes.clone(), self.entries.clone())
        };
        self.bytes.clear();
        self.entries.clear();
        Some(Batch { layouts: Arc::clone(&self.layouts), stacks: Arc::clone(&self.stacks), bytes, entries })
    }
}
