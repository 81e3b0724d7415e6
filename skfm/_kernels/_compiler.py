"""Kernels that run the same machine code in every process.

A kernel's binary holds copies of the functions that it calls. Numba gives these copies names that
binaries share, and a process then runs the copy that it happened to load first, which LLVM may
have optimized in another way: a sum could differ in its last bit between the process that
compiles and those that load the binary, or with what was fitted before. So copies are made
private.
"""

from llvmlite.binding import Linkage
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.typed_passes import AnnotateTypes


@register_pass(mutates_CFG=False, analysis_only=True)
class PrivateCopies(AnalysisPass):
    """Make a library keep what is linked into it to itself."""

    _name = "skfm_private_copies"

    def __init__(self):
        AnalysisPass.__init__(self)

    def run_pass(self, state):
        # As lowering would, which also finishes it.
        library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
        library.enable_object_caching()
        state.library = library
        optimize = library._optimize_final_module

        def optimize_private():
            for function in library._final_module.functions:
                if not function.is_declaration and function.linkage == Linkage.linkonce_odr:
                    function.linkage = "internal"
            optimize()

        library._optimize_final_module = optimize_private
        return False


class PrivateCompiler(Compiler):
    """Numba's usual compiler with that pass."""

    def define_pipelines(self):
        pipelines = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.add_pass_after(PrivateCopies, AnnotateTypes)
            pipeline.finalize()
        return pipelines
