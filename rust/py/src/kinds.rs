//! The kinds of event of a session, as Python names them: made once, shared by every batch.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};
use spile_core::event::{Column, IntegerColumn, Layouts};
use spile_core::layout::{EventLayout, FieldSchema, Role};
use spile_core::names::ValueNames;
use spile_core::spec::SessionSpec;

/// A name, for both languages.
pub struct Name {
    /// For Rust.
    pub text: String,
    /// For Python, interned.
    object: Py<PyString>,
}

impl Name {
    fn new(py: Python<'_>, text: &str) -> Self {
        Self { text: text.into(), object: PyString::intern(py, text).unbind() }
    }

    /// For Python.
    pub fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        self.object.bind(py).clone()
    }
}

/// A field that a script sees.
pub struct Field {
    /// Its name.
    pub name: Name,
    /// Its column.
    pub column: usize,
    /// Where that is in an event.
    pub place: Option<Column>,
    /// The same, of integers that have no names.
    pub integer: Option<IntegerColumn>,
    /// Numbers that have names, by number: a `spile.enums.Names`.
    pub names: Option<Py<PyAny>>,
}

/// One kind of event.
pub struct Kind {
    /// Its id.
    pub id: u16,
    /// The name of its probe.
    pub probe: Name,
    /// The name of its target.
    pub name: Name,
    /// The captures, in the order declared.
    pub fields: Vec<Field>,
    /// The script's own class for it.
    pub class: Option<Py<PyType>>,
}

/// All of a session's.
pub struct Kinds {
    by_id: Vec<Option<Kind>>,
    /// The names of where spans start: no event is of there, but `at_start(probe_name)` tells of it.
    starts: Vec<(u16, Name)>,
}

impl Kind {
    /// The field of that name. Names that Python code spells are interned, so identity finds nearly all of them.
    pub fn field(&self, name: &Bound<'_, PyString>) -> PyResult<Option<&Field>> {
        if let Some(field) = self.fields.iter().find(|field| field.name.object.as_ptr() == name.as_ptr()) {
            return Ok(Some(field));
        }
        let name = name.to_str()?;
        Ok(self.fields.iter().find(|field| field.name.text == name))
    }
}

impl Kinds {
    /// From a spec, its layouts, each event's name, and the classes that probes (by index) asked for.
    pub fn new(
        py: Python<'_>,
        spec: &SessionSpec,
        layouts: &Layouts,
        names: &[(u16, String)],
        classes: &[Option<Py<PyType>>],
    ) -> PyResult<Arc<Self>> {
        let mut by_id: Vec<Option<Kind>> = Vec::new();
        let mut tables = Tables::default();
        by_id.resize_with(layouts.len(), || None);
        let without_events = names.iter().filter(|(id, _)| layouts.get(*id).is_none());
        let starts = without_events.map(|(id, name)| (*id, Name::new(py, name))).collect();
        for layout in layouts.iter() {
            let schema = &layout.schema;
            let name = names.iter().find(|(id, _)| *id == schema.id).map_or("", |(_, name)| name.as_str());
            let probe = spec.probes.get(schema.probe as usize).map_or("", |probe| probe.name.as_str());
            by_id[usize::from(schema.id)] = Some(Kind {
                id: schema.id,
                probe: Name::new(py, probe),
                name: Name::new(py, name),
                fields: fields(py, layout, &mut tables)?,
                class: classes.get(schema.probe as usize).and_then(|class| Some(class.as_ref()?.clone_ref(py))),
            });
        }
        Ok(Arc::new(Self { by_id, starts }))
    }

    /// What the target of this number is called.
    pub fn name(&self, id: u16) -> Option<&Name> {
        let start = || self.starts.iter().find(|(start, _)| *start == id).map(|(_, name)| name);
        self.get(id).map(|kind| &kind.name).or_else(start)
    }

    /// The kind of an event.
    pub fn get(&self, id: u16) -> Option<&Kind> {
        self.by_id.get(usize::from(id))?.as_ref()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.by_id.iter().flatten()
    }
}

/// Tables of names and their objects: a group's members often share one.
#[derive(Default)]
struct Tables(Vec<(ValueNames, Py<PyAny>)>);

impl Tables {
    fn object(&mut self, py: Python<'_>, table: &ValueNames) -> PyResult<Option<Py<PyAny>>> {
        if let Some((_, object)) = self.0.iter().find(|(known, _)| known.is_copy_of(table)) {
            return Ok(Some(object.clone_ref(py)));
        }
        let object = names(py, table)?;
        if let Some(object) = &object {
            self.0.push((table.clone(), object.clone_ref(py)));
        }
        Ok(object)
    }
}

fn fields(py: Python<'_>, layout: &EventLayout, tables: &mut Tables) -> PyResult<Vec<Field>> {
    let captures = layout.schema.fields.iter().enumerate().filter(|(_, field)| field.role == Role::Capture);
    let field = |(column, field): (usize, &FieldSchema)| {
        let (name, place) = (Name::new(py, &field.name), Column::new(layout, column));
        let names = tables.object(py, &field.names)?;
        let integer = IntegerColumn::new(layout, column).filter(|_| names.is_none());
        Ok(Field { name, column, place, integer, names })
    };
    captures.map(field).collect()
}

/// The objects for values that have names.
pub fn names(py: Python<'_>, names: &ValueNames) -> PyResult<Option<Py<PyAny>>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    if names.is_empty() {
        return Ok(None);
    }
    let class = CLASS.import(py, "spile.enums", "Names")?;
    let values: Vec<(i128, &str)> = names.iter().collect();
    Ok(Some(class.call1((values,))?.unbind()))
}
