//! `yunet`: outputs `cls_S`, `obj_S` and `bbox_S` for the strides S = 8, 16, 32, each a row for every cell of a grid. Score √(cls · obj);
//! centre (column + dx) · S, (row + dy) · S; sides S · e^dw, S · e^dh (OpenCV, modules/objdetect/src/face_detect.cpp). One class. The
//! key points are not read.

use std::sync::Arc;

use picket_core::boxes::Found;
use serde::Deserialize;

use super::{Conclude, ConcludeKind, Reading, Role, output, spec_of};
use crate::{
    bundle::Task,
    pipeline::keys::{StepFault, read},
    ports::TensorSpec,
};

pub const KIND: ConcludeKind = ConcludeKind { name: "yunet", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct YuNet {}

const STRIDES: [usize; 3] = [8, 16, 32];

fn new(keys: toml::Table) -> Result<Arc<dyn Conclude>, StepFault> {
    let step: YuNet = read(keys)?;
    Ok(Arc::new(step))
}

impl Conclude for YuNet {
    fn fits(&self, task: Task, outputs: &[TensorSpec], labels: &[String]) -> Result<(), String> {
        super::for_detect("yunet", task)?;
        if labels.len() != 1 {
            return Err(format!("`yunet` finds one class, and there are {} labels", labels.len()));
        }
        STRIDES
            .iter()
            .flat_map(|stride| ["cls", "obj", "bbox"].map(|kind| format!("{kind}_{stride}")))
            .try_for_each(|name| spec_of(outputs, &name).map(|_| ()))
    }

    fn apply(&self, reading: &mut Reading<'_>) -> Result<(), String> {
        let (width, _) = reading.frame()?;
        for stride in STRIDES {
            let [cls, obj, bbox] = ["cls", "obj", "bbox"].map(|kind| output(reading, &format!("{kind}_{stride}")));
            let (cls, obj, bbox) = (cls?, obj?, bbox?);
            let columns = width as usize / stride;
            if columns == 0 || cls.len() != obj.len() || cls.len() != bbox.len() / 4 {
                return Err(format!("the outputs of stride {stride} are not of one grid"));
            }
            let size = stride as f32;
            for (cell, ((cls, obj), [dx, dy, dw, dh])) in cls.iter().zip(&obj).zip(bbox.as_chunks::<4>().0).enumerate()
            {
                let (column, row) = ((cell % columns) as f32, (cell / columns) as f32);
                let (w, h) = (dw.exp() * size, dh.exp() * size);
                let score = (cls.clamp(0.0, 1.0) * obj.clamp(0.0, 1.0)).sqrt();
                let (x, y) = ((column + dx) * size - w / 2.0, (row + dy) * size - h / 2.0);
                reading.boxes.push(Found { class: 0, score, x, y, w, h });
            }
        }
        Ok(())
    }

    fn identity(&self) -> String {
        "yunet".to_owned()
    }

    fn role(&self) -> Role {
        Role::MakesBoxes
    }
}
