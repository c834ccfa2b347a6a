//! The napi-rs addon: converts, calls the engine, maps the error. Operations come from the one list in `deftune_core`.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use deftune_core::backend_ops;
use deftune_core::engine::{Engine, Handles};
use napi::Env;
use napi::bindgen_prelude::{Float32Array, Float32ArraySlice, Int32Array, Uint8Array};
use napi_derive::napi;

/// Engine of one JavaScript object. Not shared between threads: each worker makes its own.
#[napi(js_name = "NativeBackend")]
pub struct NativeBackend {
    engine: RefCell<Engine>,
}

impl NativeBackend {
    /// No panic may cross into JavaScript: it becomes an error.
    fn call<T>(&self, f: impl FnOnce(&mut Engine) -> deftune_core::Result<T>) -> napi::Result<T> {
        let outcome = catch_unwind(AssertUnwindSafe(|| f(&mut self.engine.borrow_mut())));
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(napi::Error::from_reason(error.to_string())),
            Err(_) => Err(napi::Error::from_reason(
                "internal error: the native core panicked (please report it)",
            )),
        }
    }
}

#[napi]
impl NativeBackend {
    #[napi(constructor)]
    pub fn new(threads: u32, isa: String) -> napi::Result<NativeBackend> {
        match catch_unwind(|| Engine::new(threads, &isa)) {
            Ok(Ok(engine)) => Ok(NativeBackend {
                engine: RefCell::new(engine),
            }),
            Ok(Err(error)) => Err(napi::Error::from_reason(error.to_string())),
            Err(_) => Err(napi::Error::from_reason(
                "internal error: the native core panicked (please report it)",
            )),
        }
    }

    #[napi(js_name = "isaName")]
    pub fn isa_name(&self) -> napi::Result<String> {
        self.call(|engine| Ok(engine.isa_name().to_string()))
    }

    #[napi(js_name = "isaAvailable")]
    pub fn isa_available(&self) -> Vec<String> {
        Engine::isa_available().into_iter().map(String::from).collect()
    }

    #[napi(js_name = "threads")]
    pub fn threads(&self) -> napi::Result<u32> {
        self.call(|engine| Ok(engine.threads()))
    }

    #[napi(js_name = "uploadF32")]
    pub fn upload_f32(&self, data: Float32Array, rows: u32, cols: u32) -> napi::Result<u32> {
        self.call(|engine| engine.upload_f32(&data, rows, cols))
    }

    #[napi(js_name = "uploadI32")]
    pub fn upload_i32(&self, data: Int32Array, rows: u32, cols: u32) -> napi::Result<u32> {
        self.call(|engine| engine.upload_i32(&data, rows, cols))
    }

    #[napi(js_name = "uploadBytes")]
    pub fn upload_bytes(&self, data: Uint8Array, dtype: String, rows: u32, cols: u32) -> napi::Result<u32> {
        self.call(|engine| engine.upload_bytes(&data, &dtype, rows, cols))
    }

    #[napi(js_name = "readF32")]
    pub fn read_f32<'env>(&self, env: &'env Env, x: u32) -> napi::Result<Float32ArraySlice<'env>> {
        // A copy in memory of the JavaScript engine: some hosts (Electron) forbid array buffers of anybody else's.
        let values = self.call(|engine| engine.read_f32(x))?;
        Float32ArraySlice::copy_from(env, &values)
    }

    #[napi(js_name = "writeF32")]
    pub fn write_f32(&self, x: u32, data: Float32Array) -> napi::Result<u32> {
        self.call(|engine| engine.write_f32(x, &data))
    }
}

macro_rules! bind {
    ($(fn $name:ident $js:tt ($($argument:ident: $kind:ident),*) -> $result:ident;)*) => {
        #[napi]
        impl NativeBackend {
            $(
                #[napi(js_name = $js)]
                #[allow(clippy::too_many_arguments)] // the operations' own lists
                pub fn $name(&self, $($argument: $kind),*) -> napi::Result<$result> {
                    self.call(|engine| engine.$name($($argument),*))
                }
            )*
        }
    };
}

backend_ops!(bind);
