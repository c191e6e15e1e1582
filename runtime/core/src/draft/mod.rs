//! A JSON value that is completed while a type is deserialized from it.
//!
//! A layout test knows a state only as code that deserializes it. That code asks for what
//! it needs: a struct with these fields, a `u64`, one of these variants. A [`Draft`] starts
//! as a hole, answers each request with a value that fits, and remembers the request. What
//! it is in the end is a text that the type can read, and the layout of the type.
//!
//! Where serde buffers a value before it knows the type (`flatten`, `tag`, `untagged`), it
//! asks for any value. There the [`Refusal`] says what was expected, and the caller changes
//! the draft and tries again.

mod access;
mod key;
mod reader;
mod refusal;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use reader::Reader;
pub use refusal::Refusal;

/// One value of a draft.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub form: Form,
    pub asked: Asked,
    /// The number of values that were tried here and refused.
    pub tried: usize,
    /// The expectation of the code that refused a value here.
    pub expected: Option<String>,
}

/// The content of a value.
#[derive(Debug, Clone, Default)]
pub enum Form {
    /// Nothing yet: the first request fills it.
    #[default]
    Hole,
    Leaf(Value),
    /// A value in an `Option` or in a newtype, which JSON does not show.
    Inner(Box<Draft>),
    List(Vec<Draft>),
    Map(Vec<(String, Draft)>),
    /// A variant that is tagged externally, with its content.
    Variant(String, Option<Box<Draft>>),
}

/// The request for a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Asked {
    #[default]
    Nothing,
    Leaf(&'static str),
    Option,
    Newtype,
    List,
    Tuple(usize),
    /// A map, with the kind of its keys.
    Map(String),
    Struct,
    /// A struct whose fields are unknown beforehand, because a part is flattened into it.
    OpenStruct,
    Enum(&'static [&'static str]),
    /// The name of a variant beside its fields.
    Tag(&'static [&'static str]),
    /// Any value, because the type is chosen later.
    Any(String),
    /// The same container as further outside.
    Again(&'static str),
}

/// The way to a value: the position of each child.
pub type Path = Vec<usize>;

/// One deserialization of a draft.
#[derive(Debug, Default)]
pub struct Trace {
    /// Values for types that refuse those that a hole is filled with, by name.
    pub samples: BTreeMap<String, Value>,
    path: RefCell<Path>,
    containers: RefCell<Vec<(&'static str, usize)>>,
    /// The value that was asked for last.
    last: RefCell<Path>,
    /// The map and the position of the key that was read last.
    last_key: RefCell<Option<(Path, usize)>>,
    /// The number of different texts that were made up.
    texts: Cell<usize>,
}

impl Trace {
    #[must_use]
    pub fn new(samples: BTreeMap<String, Value>) -> Self {
        Self {
            samples,
            ..Self::default()
        }
    }

    /// Forgets the last deserialization.
    pub fn restart(&self) {
        self.path.borrow_mut().clear();
        self.containers.borrow_mut().clear();
        self.last.borrow_mut().clear();
        *self.last_key.borrow_mut() = None;
    }

    /// The value that was asked for last.
    #[must_use]
    pub fn last(&self) -> Path {
        self.last.borrow().clone()
    }

    /// The map and the position of the key that was read last.
    #[must_use]
    pub fn last_key(&self) -> Option<(Path, usize)> {
        self.last_key.borrow().clone()
    }

    /// A text that no other value has.
    pub fn new_text(&self) -> String {
        let number = self.texts.get() + 1;
        self.texts.set(number);
        format!("text {number}")
    }
}

impl Draft {
    #[must_use]
    pub fn hole() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn of(form: Form) -> Self {
        Self {
            form,
            ..Self::default()
        }
    }

    /// A draft without holes.
    #[must_use]
    pub fn from_json(value: &Value) -> Self {
        Self::of(match value {
            Value::Array(items) => Form::List(items.iter().map(Self::from_json).collect()),
            Value::Object(members) => Form::Map(
                members
                    .iter()
                    .map(|(key, value)| (key.clone(), Self::from_json(value)))
                    .collect(),
            ),
            leaf => Form::Leaf(leaf.clone()),
        })
    }

    /// The JSON value. A hole is null.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.form {
            Form::Hole => Value::Null,
            Form::Leaf(value) => value.clone(),
            Form::Inner(inner) => inner.to_json(),
            Form::List(items) => items.iter().map(Self::to_json).collect(),
            Form::Map(members) => members
                .iter()
                .map(|(key, value)| (key.clone(), value.to_json()))
                .collect::<Map<_, _>>()
                .into(),
            Form::Variant(name, None) => Value::String(name.clone()),
            Form::Variant(name, Some(content)) => {
                Map::from_iter([(name.clone(), content.to_json())]).into()
            }
        }
    }

    /// The values directly in this one, in the order of their positions.
    #[must_use]
    pub fn children(&self) -> Vec<&Self> {
        match &self.form {
            Form::Hole | Form::Leaf(_) | Form::Variant(_, None) => Vec::new(),
            Form::Inner(inner) | Form::Variant(_, Some(inner)) => vec![inner],
            Form::List(items) => items.iter().collect(),
            Form::Map(members) => members.iter().map(|(_, value)| value).collect(),
        }
    }

    fn child_mut(&mut self, position: usize) -> Option<&mut Self> {
        match &mut self.form {
            Form::Hole | Form::Leaf(_) | Form::Variant(_, None) => None,
            Form::Inner(inner) | Form::Variant(_, Some(inner)) => Some(inner),
            Form::List(items) => items.get_mut(position),
            Form::Map(members) => members.get_mut(position).map(|(_, value)| value),
        }
    }

    /// The value at the end of a path.
    #[must_use]
    pub fn get(&self, path: &[usize]) -> Option<&Self> {
        path.iter().try_fold(self, |draft, position| {
            draft.children().get(*position).copied()
        })
    }

    /// The value at the end of a path.
    pub fn at(&mut self, path: &[usize]) -> Option<&mut Self> {
        match path.split_first() {
            None => Some(self),
            Some((first, rest)) => self.child_mut(*first)?.at(rest),
        }
    }

    /// Every value with its path, from the outermost to the innermost.
    #[must_use]
    pub fn all(&self) -> Vec<(Path, &Self)> {
        let mut all = vec![(Path::new(), self)];
        for (position, child) in self.children().into_iter().enumerate() {
            for (mut path, value) in child.all() {
                path.insert(0, position);
                all.push((path, value));
            }
        }
        all
    }
}
