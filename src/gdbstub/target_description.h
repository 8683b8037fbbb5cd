// The XML that tells gdb which registers there are ("Debugging with GDB", appendix G), written from the register table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gdbstub/registers.h"

namespace doppel::gdbstub {

class TargetDescription {
 public:
  explicit TargetDescription(const RegisterTable& table);

  /// The document ANNEX ("target.xml" and what it includes), or nullptr.
  [[nodiscard]] const std::string* find(std::string_view annex) const;

 private:
  struct Document {
    std::string name;
    std::string text;
  };
  std::vector<Document> documents_;
};

}  // namespace doppel::gdbstub
