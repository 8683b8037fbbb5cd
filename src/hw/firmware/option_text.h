// Options that carry data for the firmware: "name=value,name=value", where ",," stands for a comma in a value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace doppel::hw {

struct OptionPart {
  std::string name;  // of the first part, empty if it has no '='
  std::string value;
};

/// Every part but the first needs a '='. Errors, here and in the options' parsers, do not name the option: who knows
/// where TEXT came from puts that in front.
Result<std::vector<OptionPart>> split_option(std::string_view text);

class FwCfg;

/// `-fw_cfg [name=]NAME,{file=PATH|string=TEXT}`: a file of the user's own.
Result<> add_user_file(FwCfg& fw_cfg, std::string_view text);

}  // namespace doppel::hw
