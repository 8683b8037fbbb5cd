// Libraries that are loaded when they are needed: those that few people use and that would make every start slower.
#pragma once

#include <string>

#include "base/error.h"

namespace doppel {

/// Stays loaded until the process ends: many libraries do not bear being unloaded.
class SharedLibrary {
 public:
  /// NAME: as the dynamic linker knows it, "libx.so.1". PURPOSE and PACKAGE are for the error.
  static Result<SharedLibrary> load(const std::string& name, const std::string& purpose, const std::string& package);

  /// Lets FUNCTION point to what the library calls NAME.
  template <class Function>
  Result<> find(const char* name, Function*& function) const {
    DOPPEL_ASSIGN(void* symbol, address_of(name));
    function = reinterpret_cast<Function*>(symbol);
    return {};
  }

 private:
  SharedLibrary(void* handle, std::string name) : handle_(handle), name_(std::move(name)) {}
  [[nodiscard]] Result<void*> address_of(const char* name) const;

  void* handle_;
  std::string name_;
};

}  // namespace doppel
