//! The streams of a generated SystemTap script, from descriptors that Python opened.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use spile_core::Error;
use spile_core::source::Source;
use spile_core::source::framed::{Account, Bulk, FramedSource, Schemas};
use spile_core::source::pipe::Pipe;
use spile_core::stack::StackTable;

/// A source for each descriptor, all with one account.
pub fn sources(
    descriptors: &[i32],
    is_bulk: bool,
    schemas: &Schemas,
    stacks: &Arc<StackTable>,
    account: &Arc<Account>,
) -> Result<Vec<Box<dyn Source>>, Error> {
    let source = |&descriptor: &i32| -> Result<Box<dyn Source>, Error> {
        let unusable = |error| Error::engine(format!("the stream's descriptor {descriptor} can't be read: {error}"));
        let pipe = duplicate(descriptor).and_then(|own| Pipe::new(own, Arc::clone(account))).map_err(unusable)?;
        let (stacks, account) = (Arc::clone(stacks), Arc::clone(account));
        Ok(if is_bulk {
            let prints = Bulk::new(pipe, Arc::clone(&account));
            Box::new(FramedSource::new(prints, schemas, stacks, account)?)
        } else {
            Box::new(FramedSource::new(pipe, schemas, stacks, account)?)
        })
    };
    descriptors.iter().map(source).collect()
}

/// A descriptor of our own, so that the caller may close theirs.
pub fn duplicate(descriptor: i32) -> std::io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is negative"));
    }
    // SAFETY: it isn't -1, and the borrow ends with this call, in which the system refuses a number that is no descriptor.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}
