// The commands of doppel-img.
#pragma once

#include <span>
#include <string_view>

#include "tools/common/arguments.h"
#include "tools/img/session.h"

namespace doppel::img {

struct Command {
  std::string_view name;
  std::string_view usage;
  std::span<const OptionRow> options;
  /// The exit status, or what went wrong.
  Result<int> (*run)(Session& session, const Arguments& arguments);
};

extern const Command kAmend;
extern const Command kBench;
extern const Command kBitmap;
extern const Command kCheck;
extern const Command kCommit;
extern const Command kCompare;
extern const Command kConvert;
extern const Command kCreate;
extern const Command kDd;
extern const Command kInfo;
extern const Command kMap;
extern const Command kMeasure;
extern const Command kRebase;
extern const Command kResize;
extern const Command kSnapshot;

}  // namespace doppel::img
