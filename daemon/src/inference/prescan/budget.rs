//! How much of everything one ONNX file may have, all its graphs together. An empty message is two bytes of a file and some
//! hundred of memory to whoever decodes it, so what counts is the number.

use picket_core::limits;

use super::Refusal;

#[derive(Debug, Default)]
pub(super) struct Budget {
    parts: usize,
    nodes: usize,
    tensors: usize,
    elements: usize,
    made: usize,
}

impl Budget {
    /// A message or a text.
    pub fn part(&mut self) -> Result<(), Refusal> {
        self.parts += 1;
        within("parts", self.parts, limits::ONNX_PARTS)
    }

    pub fn node(&mut self) -> Result<(), Refusal> {
        self.nodes += 1;
        within("nodes", self.nodes, limits::ONNX_NODES)?;
        self.part()
    }

    pub fn tensor(&mut self) -> Result<(), Refusal> {
        self.tensors += 1;
        within("tensors", self.tensors, limits::ONNX_TENSORS)?;
        self.part()
    }

    /// A name of something.
    pub fn name<'a>(&mut self, name: &'a [u8]) -> Result<&'a [u8], Refusal> {
        within("bytes in a name", name.len(), limits::ONNX_NAME_BYTES)?;
        self.text(name)
    }

    /// Text that is nobody's name; an encoder writes UTF-8.
    pub fn text<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], Refusal> {
        self.part()?;
        Ok(text)
    }

    /// Elements of a tensor in the file.
    pub fn data(&mut self, elements: usize) -> Result<(), Refusal> {
        self.elements = self.elements.saturating_add(elements);
        within("elements of tensors", self.elements, limits::ONNX_ELEMENTS)
    }

    /// Elements that an operator makes out of nothing.
    pub fn made(&mut self, elements: usize) -> Result<(), Refusal> {
        self.made = self.made.saturating_add(elements);
        within("elements that its operators make of constants", self.made, limits::ONNX_ELEMENTS)
    }
}

pub(super) fn within(what: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count <= most {
        return Ok(());
    }
    Err(Refusal::new("model/too-large", format!("more than {most} {what}")))
}
