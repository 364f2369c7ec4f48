//! Spans, in an interpreter: what a start keeps, what an end makes of it, and what each of them counts.

#![cfg(target_pointer_width = "64")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod compile_support;

use compile_support::machine::{KERNEL, Machine, PID, TIME};
use compile_support::*;
use spile_bpf::compile::{Access, Leaf, Ledger, MapRef, ProgramKind};
use spile_core::event::{Event, Layouts, Record, Value};
use spile_core::layout::FieldType;
use spile_core::spec::{BinaryOperator as B, CompareOperator as C, Condition, Context, Expr, ProbeSpec, StackSpace};

/// Two numbers and a pointer that a probe finds in its context.
fn table() -> Table {
    Table(vec![
        ("key", Access::Ctx { offset: 0, size: 8, signed: false }),
        ("small", Access::Ctx { offset: 8, size: 2, signed: true }),
        ("pointer", Access::Ctx { offset: 16, size: 8, signed: false }),
        ("name", read(0, Leaf::String { size: 12 })),
        ("far", read(16, Leaf::Int { size: 4, signed: false })),
    ])
}

fn read(offset: u32, leaf: Leaf) -> Access {
    Access::Read { ctx_offset: 16, derefs: vec![], offset, leaf }
}

fn context(key: u64, small: i16, pointer: u64) -> Vec<u8> {
    [key, small as u16 as u64, pointer].iter().flat_map(|word| word.to_le_bytes()).collect()
}

struct Run {
    pair: Pair,
    layouts: Layouts,
    machine: Machine,
}

impl Run {
    fn of(probe: &ProbeSpec) -> Self {
        Self::between(probe, None, None)
    }

    fn between(probe: &ProbeSpec, start: Option<&Condition>, end: Option<&Condition>) -> Self {
        let (table, key) = (table(), field("key"));
        let kind = ProgramKind::RawTracepoint;
        let pair = paired(kind, probe, &key, (&table, start), (&table, end), &options()).unwrap();
        let layouts = Layouts::new(vec![pair.layout.clone()]).unwrap();
        let machine = Machine::keeping(pair.kept.size());
        Self { pair, layouts, machine }
    }

    fn start(mut self, key: u64, small: i16, pointer: u64) -> Self {
        self.machine = self.machine.run(&self.pair.start, &mut context(key, small, pointer));
        self
    }

    fn end(mut self, key: u64, small: i16, pointer: u64) -> Self {
        self.machine = self.machine.run(&self.pair.end, &mut context(key, small, pointer));
        self
    }

    fn count(&self, word: Ledger) -> u64 {
        self.machine.ledger[word as usize]
    }

    /// Hits that no number accounts for.
    fn balance(&self) -> u64 {
        use Ledger::*;
        let fates = [Filtered, Delivered, RingFull, ReEntered, Faulted, Unmatched, Opened, AlreadyOpen, OpenFull];
        self.count(Hits) - fates.map(|word| self.count(word)).iter().sum::<u64>()
    }

    fn events(&self) -> usize {
        self.machine.rings.values().flatten().filter(|record| record[8] != 0).count()
    }

    fn event(&self) -> Event<'_> {
        match Record::parse(&self.layouts, 0, self.machine.record()).unwrap() {
            Record::Event(event) => event,
            Record::Stack(_) => panic!("a definition"),
        }
    }

    fn values(&self) -> Vec<Value<'_>> {
        let event = self.event();
        (0..self.pair.layout.schema.fields.len()).map(|index| event.value(index)).collect()
    }
}

fn text(bytes: &[u8]) -> Value<'_> {
    Value::String { bytes, cut: false }
}

#[test]
fn numbers_are_those_of_the_start_and_of_the_end() {
    let grown = binary(B::Subtract, field("small"), at_start(field("small")));
    let elapsed = fact(Context::Elapsed);
    let probe =
        span(&[field("small"), at_start(field("small")), grown, elapsed, at_start(fact(Context::Pid))], None, true);
    let run = Run::of(&probe).start(7, -3, 0).end(7, 10, 0);
    let expected = [Value::Signed(10), Value::Signed(-3), Value::Signed(13), Value::Unsigned(0), Value::Unsigned(PID)];
    assert_eq!(run.values(), expected);
    assert_eq!((run.event().time(), run.balance()), (TIME, 0));
    assert!(run.machine.open.is_empty());
    assert_eq!([run.count(Ledger::Opened), run.count(Ledger::Matched), run.count(Ledger::Delivered)], [1, 1, 1]);
}

#[test]
fn the_time_between_is_told_and_decides() {
    let long = compare(C::GreaterEqual, fact(Context::Elapsed), int(500));
    for (before, delivered) in [(499, 0), (500, 1), (501, 1)] {
        let mut run = Run::of(&span(&[fact(Context::Elapsed)], Some(long.clone()), true)).start(1, 0, 0);
        // The machine's clock stands still, so the start is moved.
        run.machine.open.get_mut(&1).unwrap()[..8].copy_from_slice(&(TIME - before).to_le_bytes());
        let run = run.end(1, 0, 0);
        assert_eq!((run.count(Ledger::Delivered), run.count(Ledger::Filtered)), (delivered, 1 - delivered));
        assert_eq!((run.count(Ledger::Matched), run.balance()), (1, 0));
        if delivered == 1 {
            assert_eq!(run.values(), [Value::Unsigned(before)]);
        }
    }
    // A start of another CPU that has the later time.
    let mut run = Run::of(&span(&[fact(Context::Elapsed)], None, true)).start(1, 0, 0);
    run.machine.open.get_mut(&1).unwrap()[..8].copy_from_slice(&(TIME + 5).to_le_bytes());
    assert_eq!(run.end(1, 0, 0).values(), [Value::Unsigned(0)]);
}

#[test]
fn strings_and_stacks_are_those_of_the_start() {
    let captures = [
        at_start(fact(Context::Comm)),
        fact(Context::Comm),
        at_start(field("name")),
        at_start(string(field("pointer"), 32)),
        at_start(stack(StackSpace::Kernel)),
        at_start(fact(Context::ProbeName)),
    ];
    let mut run = Run::of(&span(&captures, None, true));
    run.machine.kernel = b"hello, world and more\0".to_vec();
    run.machine.kernel_stack = vec![11, 22, 33];
    let mut run = run.start(1, 0, KERNEL);
    assert_eq!(run.machine.rings.values().flatten().count(), 1, "the stack's definition");
    let Record::Stack(definition) = Record::parse(&run.layouts, 0, run.machine.record()).unwrap() else {
        panic!("no definition")
    };
    let (hash, frames) = (definition.hash, definition.frames().collect::<Vec<_>>());
    assert_eq!(frames, [11, 22, 33]);
    run.machine.kernel = b"something else\0".to_vec();
    run.machine.kernel_stack = vec![44];
    run.machine.comm = *b"another\0........";
    let run = run.end(1, 0, KERNEL);
    let expected = [
        text(b"a-command"),
        text(b"another"),
        text(b"hello, world"),
        text(b"hello, world and more"),
        Value::Stack { hash, space: StackSpace::Kernel },
        Value::Name(3),
    ];
    assert_eq!(run.values(), expected);
    assert_eq!(run.balance(), 0);
}

#[test]
fn a_string_that_was_cut_at_the_start_is_cut() {
    let captures = [at_start(string(field("pointer"), 8)), at_start(string(field("pointer"), 16))];
    let mut run = Run::of(&span(&captures, None, true));
    run.machine.kernel = b"twelve bytes\0".to_vec();
    let run = run.start(1, 0, KERNEL).end(1, 0, 0);
    assert_eq!(run.values(), [Value::String { bytes: b"twelve ", cut: true }, text(b"twelve bytes")]);
}

#[test]
fn what_faulted_at_the_start_is_none_at_the_end() {
    let captures = [
        at_start(field("far")),
        at_start(field("small")),
        at_start(field("name")),
        at_start(string(field("pointer"), 64)),
        at_start(stack(StackSpace::Kernel)),
        binary(B::Add, at_start(field("far")), int(1)),
    ];
    let run = Run::of(&span(&captures, None, true)).start(1, 5, 0).end(1, 6, 0);
    let mut expected = vec![Value::Null; 6];
    expected[1] = Value::Signed(5);
    assert_eq!(run.values(), expected);
    assert_eq!((run.count(Ledger::StackFailed), run.balance()), (1, 0));
    // In a condition it decides nothing: the hit is counted as faulted, though its span has ended.
    let condition = compare(C::NotEqual, at_start(field("far")), int(0));
    let run = Run::of(&span(&[], Some(condition), true)).start(1, 5, 0).end(1, 6, 0);
    assert_eq!([run.count(Ledger::Faulted), run.count(Ledger::Matched), run.balance()], [1, 1, 0]);
}

#[test]
fn strings_from_the_start_decide() {
    for (wanted, delivered) in [("a-command", 1), ("a-comman", 0)] {
        let probe = span(&[], Some(is_string(at_start(fact(Context::Comm)), &[wanted])), true);
        let mut run = Run::of(&probe).start(1, 0, 0);
        run.machine.comm = *b"a-comman\0\0\0\0\0\0\0\0";
        assert_eq!(run.end(1, 0, 0).count(Ledger::Delivered), delivered);
    }
    for (wanted, delivered) in [("hello", 1), ("hell", 0), ("hello!", 0)] {
        let probe = span(&[], Some(is_string(at_start(string(field("pointer"), 16)), &[wanted])), true);
        let mut run = Run::of(&probe);
        run.machine.kernel = b"hello\0rest".to_vec();
        assert_eq!(run.start(1, 0, KERNEL).end(1, 0, 0).count(Ledger::Delivered), delivered, "{wanted}");
    }
}

#[test]
fn every_start_and_every_end_is_counted() {
    let probe = span(&[at_start(field("small"))], None, true);
    let run = Run::of(&probe).end(1, 0, 0).start(1, 1, 0).start(1, 2, 0).end(1, 0, 0);
    assert_eq!(run.values(), [Value::Signed(2)], "the second start");
    assert_eq!(
        [run.count(Ledger::Unmatched), run.count(Ledger::Opened), run.count(Ledger::Overwritten), run.balance()],
        [1, 2, 1, 0]
    );
    // Two keys are as many as the machine has room for.
    let run = run.start(1, 0, 0).start(2, 0, 0).start(3, 0, 0).start(2, 9, 0).end(3, 0, 0).end(2, 0, 0);
    assert_eq!(run.values(), [Value::Signed(9)]);
    assert_eq!(
        [run.count(Ledger::OpenFull), run.count(Ledger::Overwritten), run.count(Ledger::Unmatched), run.balance()],
        [1, 2, 2, 0]
    );
    let left = run.count(Ledger::Opened) - run.count(Ledger::Matched) - run.count(Ledger::Overwritten);
    assert_eq!((left, run.machine.open.len(), run.events()), (1, 1, 2));
}

#[test]
fn the_first_start_stays_where_it_is_to() {
    let probe = span(&[at_start(field("small"))], None, false);
    let run = Run::of(&probe).start(1, 1, 0).start(1, 2, 0).end(1, 0, 0);
    assert_eq!(run.values(), [Value::Signed(1)]);
    let words = [Ledger::AlreadyOpen, Ledger::Opened, Ledger::Overwritten, Ledger::Matched];
    assert_eq!((words.map(|word| run.count(word)), run.balance()), ([1, 1, 0, 1], 0));
}

#[test]
fn conditions_of_the_sides_keep_hits_out_of_the_span() {
    let positive = compare(C::Greater, field("small"), int(0));
    let probe = span(&[at_start(field("small"))], None, true);
    let run = Run::between(&probe, Some(&positive), Some(&positive));
    let run = run.start(1, 0, 0).start(1, 4, 0).end(1, 0, 0).end(1, 1, 0);
    assert_eq!(run.values(), [Value::Signed(4)]);
    assert_eq!([run.count(Ledger::Filtered), run.count(Ledger::Unmatched), run.balance()], [2, 0, 0]);
}

#[test]
fn a_full_ring_loses_the_event_and_ends_the_span() {
    let mut run = Run::of(&span(&[], None, true)).start(1, 0, 0);
    run.machine.room = 0;
    let run = run.end(1, 0, 0);
    assert_eq!([run.count(Ledger::RingFull), run.count(Ledger::Matched), run.balance()], [1, 1, 0]);
}

#[test]
fn a_key_that_faults_is_counted() {
    let (table, key) = (table(), field("far"));
    let probe = span(&[], None, true);
    let kind = ProgramKind::RawTracepoint;
    let pair = paired(kind, &probe, &key, (&table, None), (&table, None), &options()).unwrap();
    let mut machine = Machine::keeping(pair.kept.size());
    for program in [&pair.start, &pair.end] {
        machine = machine.run(program, &mut context(0, 0, 0));
    }
    assert_eq!((machine.ledger[Ledger::Faulted as usize], machine.ledger[Ledger::Hits as usize]), (2, 2));
}

#[test]
fn starts_of_different_types_have_one_in_common() {
    let narrow = |size, signed| Table(vec![("x", Access::Ctx { offset: 0, size, signed })]);
    let expr = at_start(field("x"));
    let common = |tables: &[Table]| {
        let starts: Vec<&dyn spile_bpf::compile::Fields> = tables.iter().map(|table| table as _).collect();
        let kept = spile_bpf::compile::SpanLayout::compute([&expr], &starts, "probes[2]")?;
        let probe = span(std::slice::from_ref(&expr), None, true);
        spile_bpf::compile::schema(&probe, 2, 0, 3, &table(), Some(&kept)).map(|(schema, _)| schema.fields[0].ty)
    };
    assert_eq!(common(&[narrow(4, true), narrow(4, true)]), Ok(FieldType::Int { size: 4, signed: true }));
    assert_eq!(common(&[narrow(4, true), narrow(2, false)]), Ok(FieldType::Int { size: 8, signed: true }));
    let text = Table(vec![("x", Access::CtxString { offset: 0, size: 16 })]);
    let error = common(&[narrow(4, true), text]).unwrap_err().to_string();
    assert!(error.contains("takes a s32 from one start and a string from another"), "{error}");
}

#[test]
fn what_has_no_start_is_refused() {
    let refusal = |probe: &ProbeSpec, condition: Option<&Condition>| {
        let (table, key) = (table(), field("key"));
        let kind = ProgramKind::RawTracepoint;
        paired(kind, probe, &key, (&table, condition), (&table, None), &options()).map(drop).unwrap_err().to_string()
    };
    let nested = at_start(at_start(field("small")));
    assert!(refusal(&span(&[nested], None, true), None).contains("only a span has a start"));
    let early = compare(C::Greater, fact(Context::Elapsed), int(1));
    assert!(refusal(&span(&[], None, true), Some(&early)).contains("at its end"));
    let long: Vec<Expr> = (0..3).map(|n| at_start(string(binary(B::Add, field("pointer"), int(n)), 4096))).collect();
    assert!(refusal(&span(&long, None, true), None).contains("keeps at most 8192 bytes"));
}

#[test]
fn a_spans_table_is_named_by_its_number() {
    let pair = Run::of(&span(&[], None, true)).pair;
    for program in [&pair.start, &pair.end] {
        assert!(program.relocations.iter().any(|(_, map)| *map == MapRef::Open(0)));
    }
    assert_eq!(pair.kept.size(), 8);
}
