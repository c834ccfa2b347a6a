//! The wasm-bindgen module: converts, calls the engine, maps the error. Operations come from the one list in `deftune_core`.

use std::cell::RefCell;

use deftune_core::backend_ops;
use deftune_core::engine::{Engine, Handles};
use deftune_core::threads::Seat;
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

#[wasm_bindgen]
pub struct WasmBackend {
    engine: RefCell<Engine>,
}

impl WasmBackend {
    fn call<T>(&self, f: impl FnOnce(&mut Engine) -> deftune_core::Result<T>) -> Result<T, JsError> {
        f(&mut self.engine.borrow_mut()).map_err(|error| JsError::new(&error.to_string()))
    }
}

#[wasm_bindgen]
impl WasmBackend {
    #[wasm_bindgen(constructor)]
    pub fn new(threads: u32, isa: &str) -> Result<WasmBackend, JsError> {
        let engine = Engine::new(threads, isa).map_err(|error| JsError::new(&error.to_string()))?;
        Ok(WasmBackend {
            engine: RefCell::new(engine),
        })
    }

    #[wasm_bindgen(js_name = "isaName")]
    pub fn isa_name(&self) -> Result<String, JsError> {
        self.call(|engine| Ok(engine.isa_name().to_string()))
    }

    #[wasm_bindgen(js_name = "isaAvailable")]
    pub fn isa_available(&self) -> Vec<String> {
        Engine::isa_available().into_iter().map(String::from).collect()
    }

    #[wasm_bindgen(js_name = "threads")]
    pub fn threads(&self) -> Result<u32, JsError> {
        self.call(|engine| Ok(engine.threads()))
    }

    #[wasm_bindgen(js_name = "uploadF32")]
    pub fn upload_f32(&self, data: &[f32], rows: u32, cols: u32) -> Result<u32, JsError> {
        self.call(|engine| engine.upload_f32(data, rows, cols))
    }

    #[wasm_bindgen(js_name = "uploadI32")]
    pub fn upload_i32(&self, data: &[i32], rows: u32, cols: u32) -> Result<u32, JsError> {
        self.call(|engine| engine.upload_i32(data, rows, cols))
    }

    #[wasm_bindgen(js_name = "uploadBytes")]
    pub fn upload_bytes(&self, data: &[u8], dtype: &str, rows: u32, cols: u32) -> Result<u32, JsError> {
        self.call(|engine| engine.upload_bytes(data, dtype, rows, cols))
    }

    #[wasm_bindgen(js_name = "readF32")]
    pub fn read_f32(&self, x: u32) -> Result<Vec<f32>, JsError> {
        self.call(|engine| engine.read_f32(x))
    }

    #[wasm_bindgen(js_name = "writeF32")]
    pub fn write_f32(&self, x: u32, data: &[f32]) -> Result<u32, JsError> {
        self.call(|engine| engine.write_f32(x, data))
    }
}

/// The address of a place in a backend's pool for another instance of this module with the same memory, which [`work`]s there or, when that
/// was cut short by a trap, [`abandon`]s it; one of them, once.
#[wasm_bindgen]
pub fn seat(backend: &WasmBackend) -> u32 {
    Box::into_raw(Box::new(backend.engine.borrow_mut().seat())) as u32
}

/// Works in a seat until its backend is freed.
///
/// # Safety
/// `seat` came from [`seat`] and nobody else has it.
#[wasm_bindgen]
pub unsafe fn work(seat: u32) {
    let seat = seat as *mut Seat;
    // SAFETY: a box of `seat`'s that is this caller's (see above). It is dropped only where no trap left it to `abandon`.
    unsafe { &*seat }.work();
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(seat) });
}

/// Tells the backend that [`work`] ended in a trap.
///
/// # Safety
/// As for [`work`].
#[wasm_bindgen]
pub unsafe fn abandon(seat: u32) {
    // SAFETY: the box that `work` has left.
    unsafe { Box::from_raw(seat as *mut Seat) }.abandon();
}

macro_rules! bind {
    ($(fn $name:ident $js:tt ($($argument:ident: $kind:ident),*) -> $result:ident;)*) => {
        #[wasm_bindgen]
        impl WasmBackend {
            $(
                #[wasm_bindgen(js_name = $js)]
                #[allow(clippy::too_many_arguments)] // the operations' own lists
                pub fn $name(&self, $($argument: $kind),*) -> Result<$result, JsError> {
                    self.call(|engine| engine.$name($($argument),*))
                }
            )*
        }
    };
}

backend_ops!(bind);
