//! The values in a list, a map or a variant of a draft, as serde asks for them.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::draft::key::Key;
use crate::draft::reader::child;
use crate::draft::{Asked, Draft, Refusal, Trace};

pub(super) struct List<'a> {
    pub(super) items: &'a mut Vec<Draft>,
    pub(super) next: usize,
    pub(super) trace: &'a Trace,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Some(item) = self.items.get_mut(self.next) else {
            return Ok(None);
        };
        let position = self.next;
        self.next += 1;
        child(self.trace, position, item, |item| seed.deserialize(item)).map(Some)
    }
}

pub(super) struct Members<'a> {
    pub(super) members: &'a mut Vec<(String, Draft)>,
    pub(super) next: usize,
    pub(super) trace: &'a Trace,
    pub(super) kind: &'a mut String,
    pub(super) is_field: &'a mut bool,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Some((text, _)) = self.members.get_mut(self.next) else {
            return Ok(None);
        };
        let path = self.trace.path.borrow().clone();
        *self.trace.last_key.borrow_mut() = Some((path, self.next));
        let key = Key {
            text,
            kind: &mut *self.kind,
            is_field: &mut *self.is_field,
        };
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let position = self.next;
        self.next += 1;
        match self.members.get_mut(position) {
            Some((_, value)) => child(self.trace, position, value, |value| seed.deserialize(value)),
            None => Err(Refusal::Other("a value without a key was read".to_owned())),
        }
    }
}

/// A variant with content, as a map of one member.
pub(super) struct OneMember<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) content: &'a mut Draft,
    pub(super) trace: &'a Trace,
}

impl<'de> MapAccess<'de> for OneMember<'_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Some(name) = self.name.take() else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, Refusal> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        child(self.trace, 0, self.content, |content| {
            seed.deserialize(content)
        })
    }
}

pub(super) struct Variant<'a> {
    pub(super) name: &'a str,
    pub(super) content: &'a mut Option<Box<Draft>>,
    pub(super) trace: &'a Trace,
}

impl<'a> Variant<'a> {
    fn content(content: &'a mut Option<Box<Draft>>) -> &'a mut Draft {
        content.get_or_insert_default()
    }
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Refusal;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Refusal> {
        let name: StrDeserializer<'_, Refusal> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        *self.content = None;
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        child(self.trace, 0, Self::content(self.content), |content| {
            seed.deserialize(content)
        })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        child(self.trace, 0, Self::content(self.content), |content| {
            content.list(Asked::Tuple(len), len, visitor)
        })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        child(self.trace, 0, Self::content(self.content), |content| {
            content.fields(fields, visitor)
        })
    }
}
