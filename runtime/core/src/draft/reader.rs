//! The deserializer of a draft, which fills its holes.

use serde::de::{Deserializer, Expected, Visitor};
use serde_json::Value;

use crate::draft::access::{List, Members, OneMember, Variant};
use crate::draft::{Asked, Draft, Form, Refusal, Trace};

/// Deeper values are refused, before the stack overflows.
const DEPTH: usize = 100;

/// Reads a value of a draft, and fills it if it is a hole.
pub struct Reader<'a> {
    draft: &'a mut Draft,
    trace: &'a Trace,
}

impl<'a> Reader<'a> {
    /// Reads a whole draft.
    pub fn new(draft: &'a mut Draft, trace: &'a Trace) -> Self {
        trace.restart();
        Self { draft, trace }
    }

    fn asked(&mut self, asked: Asked) {
        self.trace
            .path
            .borrow()
            .clone_into(&mut self.trace.last.borrow_mut());
        if !matches!(self.draft.asked, Asked::Again(_) | Asked::OpenStruct) {
            self.draft.asked = asked;
        }
    }

    /// Records a request for any value, unless the variants or the keys are known already.
    fn asked_any(&mut self, expected: String) {
        match self.draft.asked.clone() {
            known @ (Asked::Enum(_) | Asked::Tag(_) | Asked::Map(_)) => self.asked(known),
            _ => self.asked(Asked::Any(expected)),
        }
    }

    fn is_hole(&self) -> bool {
        matches!(self.draft.form, Form::Hole)
    }

    /// Whether the value is in a container that is in itself.
    fn is_again(&self) -> bool {
        let containers = self.trace.containers.borrow();
        (1..containers.len()).any(|end| containers[..end].contains(&containers[end]))
    }

    /// How often the container is around this value.
    fn around(&self, name: &'static str, identity: usize) -> usize {
        let containers = self.trace.containers.borrow();
        containers
            .iter()
            .filter(|c| **c == (name, identity))
            .count()
    }

    fn use_sample(&mut self, name: &str) {
        if self.is_hole()
            && let Some(sample) = self.trace.samples.get(name)
        {
            self.draft.form = Draft::from_json(sample).form;
        }
    }

    /// Reads inside a container.
    fn within<T>(
        mut self,
        name: &'static str,
        identity: usize,
        read: impl FnOnce(Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if self.around(name, identity) > 0 {
            self.draft.asked = Asked::Again(name);
        }
        self.use_sample(name);
        let trace = self.trace;
        trace.containers.borrow_mut().push((name, identity));
        let result = read(self);
        trace.containers.borrow_mut().pop();
        result
    }

    fn leaf<'de, V: Visitor<'de>>(
        mut self,
        kind: &'static str,
        value: impl Into<Value>,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.asked(Asked::Leaf(kind));
        if self.is_hole() {
            self.draft.form = Form::Leaf(value.into());
        }
        self.feed(visitor)
    }

    /// Gives the value as it is.
    fn feed<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let trace = self.trace;
        match &mut self.draft.form {
            Form::Hole | Form::Leaf(Value::Null) => visitor.visit_unit(),
            Form::Leaf(Value::Bool(value)) => visitor.visit_bool(*value),
            Form::Leaf(Value::String(text)) => visitor.visit_str(text),
            Form::Leaf(Value::Number(number)) => {
                if let Some(number) = number.as_u64() {
                    visitor.visit_u64(number)
                } else if let Some(number) = number.as_i64() {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_f64(number.as_f64().unwrap_or_default())
                }
            }
            Form::Leaf(value) => {
                self.draft.form = Draft::from_json(&value.clone()).form;
                Reader {
                    draft: self.draft,
                    trace,
                }
                .feed(visitor)
            }
            Form::Inner(inner) => child(trace, 0, inner, |inner| inner.feed(visitor)),
            Form::List(items) => visitor.visit_seq(List {
                items,
                next: 0,
                trace,
            }),
            Form::Map(members) => visitor.visit_map(Members {
                members,
                next: 0,
                trace,
                kind: &mut String::new(),
                is_field: &mut false,
            }),
            Form::Variant(name, None) => visitor.visit_str(name),
            Form::Variant(name, Some(content)) => visitor.visit_map(OneMember {
                name: Some(name),
                content,
                trace,
            }),
        }
    }

    pub(super) fn list<'de, V: Visitor<'de>>(
        mut self,
        asked: Asked,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.asked(asked);
        if self.is_hole() {
            self.draft.form = Form::List(vec![Draft::hole(); len]);
        }
        self.feed(visitor)
    }

    /// Reads the fields of a struct.
    pub(super) fn fields<'de, V: Visitor<'de>>(
        mut self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.asked(Asked::Struct);
        if self.is_hole() {
            let member = |name: &&str| ((*name).to_owned(), Draft::hole());
            self.draft.form = Form::Map(fields.iter().map(member).collect());
        }
        self.feed(visitor)
    }

    /// Wraps the content, for a request that JSON does not show.
    fn inner(&mut self) -> &mut Draft {
        if !matches!(self.draft.form, Form::Inner(_)) {
            let form = std::mem::take(&mut self.draft.form);
            self.draft.form = Form::Inner(Box::new(Draft::of(form)));
        }
        match &mut self.draft.form {
            Form::Inner(inner) => inner,
            _ => unreachable!(),
        }
    }

    /// Turns what stands for a variant in JSON into one.
    fn as_variant(&mut self) {
        let variant = match &mut self.draft.form {
            Form::Leaf(Value::String(name)) => Some((std::mem::take(name), None)),
            Form::Map(members) if members.len() == 1 => members
                .pop()
                .map(|(name, content)| (name, Some(Box::new(content)))),
            _ => None,
        };
        if let Some((name, content)) = variant {
            self.draft.form = Form::Variant(name, content);
        }
    }
}

/// Reads a child.
pub(super) fn child<T>(
    trace: &Trace,
    position: usize,
    draft: &mut Draft,
    read: impl FnOnce(Reader<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    if trace.path.borrow().len() > DEPTH {
        return Err(Refusal::Other(format!(
            "values are nested deeper than {DEPTH}"
        )));
    }
    trace.path.borrow_mut().push(position);
    let result = read(Reader { draft, trace });
    trace.path.borrow_mut().pop();
    result
}

macro_rules! leaves {
    ($($method:ident $kind:literal $value:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            self.leaf($kind, $value, visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Refusal;

    leaves! {
        deserialize_bool "bool" true;
        deserialize_i8 "i8" 1;
        deserialize_i16 "i16" 1;
        deserialize_i32 "i32" 1;
        deserialize_i64 "i64" 1;
        deserialize_i128 "i128" 1;
        deserialize_u8 "u8" 1;
        deserialize_u16 "u16" 1;
        deserialize_u32 "u32" 1;
        deserialize_u64 "u64" 1;
        deserialize_u128 "u128" 1;
        deserialize_f32 "f32" 1.5;
        deserialize_f64 "f64" 1.5;
        deserialize_char "char" "a";
        deserialize_str "string" "a";
        deserialize_string "string" "a";
        deserialize_unit "unit" Value::Null;
        deserialize_ignored_any "ignored" Value::Null;
    }

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        let expected = (&visitor as &dyn Expected).to_string();
        if self.is_hole() {
            self.draft.form = if expected.starts_with("internally tagged enum") {
                Form::Map(Vec::new())
            } else {
                Form::Leaf(self.trace.new_text().into())
            };
        }
        self.asked_any(expected);
        self.feed(visitor)
    }

    /// The value of a tag. The variants are unknown until one is refused.
    fn deserialize_identifier<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        if self.is_hole() {
            self.draft.form = Form::Leaf(self.trace.new_text().into());
        }
        self.asked_any("a tag".to_owned());
        self.feed(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        self.asked(Asked::Leaf("bytes"));
        if self.is_hole() {
            self.draft.form = Form::List(vec![Draft::of(Form::Leaf(1.into()))]);
        }
        match self.draft.to_json() {
            Value::Array(items) => {
                let bytes = items
                    .iter()
                    .filter_map(|item| item.as_u64()?.try_into().ok());
                visitor.visit_byte_buf(bytes.collect())
            }
            _ => self.feed(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        self.asked(Asked::Option);
        if self.is_hole() && self.is_again() {
            self.draft.form = Form::Leaf(Value::Null);
        }
        if matches!(self.draft.form, Form::Leaf(Value::Null)) {
            return visitor.visit_none();
        }
        let trace = self.trace;
        child(trace, 0, self.inner(), |inner| visitor.visit_some(inner))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        const RAW: &str = "$serde_json::private::RawValue";
        if name == RAW {
            self.asked(Asked::Leaf("any JSON value"));
            if self.is_hole() {
                self.draft.form = Form::Leaf(Value::Bool(true));
            }
            let text = self.draft.to_json().to_string();
            return visitor.visit_map(serde::de::value::MapDeserializer::new(
                [(RAW, text)].into_iter(),
            ));
        }
        self.asked(Asked::Newtype);
        self.use_sample(name);
        let trace = self.trace;
        child(trace, 0, self.inner(), |inner| {
            visitor.visit_newtype_struct(inner)
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let len = usize::from(!self.is_again());
        self.list(Asked::List, len, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.list(Asked::Tuple(len), len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.use_sample(name);
        self.list(Asked::Tuple(len), len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        self.asked(Asked::Map(String::new()));
        if self.is_hole() {
            let one = (String::new(), Draft::hole());
            let members = if self.is_again() {
                Vec::new()
            } else {
                vec![one]
            };
            self.draft.form = Form::Map(members);
        }
        let Form::Map(members) = &mut self.draft.form else {
            return self.feed(visitor);
        };
        let (mut kind, mut is_field) = (String::new(), false);
        let result = visitor.visit_map(Members {
            members,
            next: 0,
            trace: self.trace,
            kind: &mut kind,
            is_field: &mut is_field,
        });
        if is_field {
            self.draft.asked = Asked::OpenStruct;
            members_without_name(&mut self.draft.form);
        } else if !kind.is_empty() {
            self.asked(Asked::Map(kind));
        }
        result
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.within(name, fields.as_ptr() as usize, |this| {
            this.fields(fields, visitor)
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let identity = variants.as_ptr() as usize;
        let around = self.around(name, identity);
        self.within(name, identity, |mut this| {
            this.asked(Asked::Enum(variants));
            if this.is_hole() {
                // In itself, another variant: one of them must end somewhere.
                let Some(variant) = variants.get(around.min(variants.len().saturating_sub(1)))
                else {
                    return Err(Refusal::Other(format!("`{name}` has no variants")));
                };
                this.draft.form = Form::Variant((*variant).to_owned(), Some(Box::default()));
            }
            this.as_variant();
            let trace = this.trace;
            match &mut this.draft.form {
                Form::Variant(name, content) => visitor.visit_enum(Variant {
                    name,
                    content,
                    trace,
                }),
                _ => this.feed(visitor),
            }
        })
    }
}

/// Removes a key that was added before its kind was known.
fn members_without_name(form: &mut Form) {
    if let Form::Map(members) = form {
        members.retain(|(name, _)| !name.is_empty());
    }
}
