//! What is left of events that are only counted: of each a row of words, for the columns that their keys need, one after the
//! other ([`crate::words`]). A process stays on its CPU for many events of a kind, so nearly every row is the one before it
//! again: such rows are one, with their number.

/// Rows of one kind of event.
#[derive(Debug, Default)]
pub struct Rows {
    words: Vec<u64>,
    /// Of each row, how many events have it, one after the other.
    counts: Vec<u64>,
}

impl Rows {
    /// Appends an event's row of so many words. Each has as many.
    #[inline(always)]
    pub(crate) fn push(&mut self, width: usize, row: impl Iterator<Item = u64> + Clone) {
        if let Some(count) = self.counts.last_mut()
            && let Some(last) = self.words.len().checked_sub(width)
            && row.clone().zip(&self.words[last..]).all(|(word, last)| word == *last)
        {
            *count += 1;
        } else {
            self.words.extend(row);
            self.counts.push(1);
        }
    }

    /// Appends a word of the next row, for who has reason to think that it isn't the one before it.
    #[inline]
    pub(crate) fn word(&mut self, word: u64) {
        self.words.push(word);
    }

    /// Ends so many rows, of an event each.
    #[inline]
    pub(crate) fn end(&mut self, rows: usize) {
        self.counts.resize(self.counts.len() + rows, 1);
    }

    /// The rows in the order read, and how many events in a row have each.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&[u64], u64)> {
        let width = self.width();
        let mut rest = self.words.as_slice();
        self.counts.iter().map_while(move |count| {
            let (row, behind) = rest.split_at_checked(width)?;
            rest = behind;
            Some((row, *count))
        })
    }

    /// The number of events.
    pub fn len(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Bytes that the events' rows take one by one, at least one for each.
    pub(crate) fn nbytes(&self) -> u64 {
        self.len() * (size_of::<u64>() * self.width()).max(1) as u64
    }

    /// Words of a row.
    fn width(&self) -> usize {
        self.words.len().checked_div(self.counts.len()).unwrap_or_default()
    }

    /// Forgets the rows and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.counts.clear();
    }
}
