#include "base/shared_library.h"

#include <dlfcn.h>

namespace doppel {

Result<SharedLibrary> SharedLibrary::load(const std::string& name, const std::string& purpose,
                                          const std::string& package) {
  void* handle = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr)
    return fail(ErrorKind::kUnsupported, "{} needs the library {}; install the package {}", purpose, name, package);
  return SharedLibrary(handle, name);
}

Result<void*> SharedLibrary::address_of(const char* name) const {
  void* symbol = ::dlsym(handle_, name);
  if (symbol == nullptr) return fail(ErrorKind::kUnsupported, "the library {} is too old: it has no {}", name_, name);
  return symbol;
}

}  // namespace doppel
