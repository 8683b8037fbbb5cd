#include "hw/firmware/option_text.h"

#include <algorithm>

#include "base/bits.h"
#include "base/text.h"
#include "hw/firmware/fw_cfg.h"

namespace doppel::hw {

Result<std::vector<OptionPart>> split_option(std::string_view text) {
  std::vector<std::string> pieces(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      pieces.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      pieces.back() += text[i++];
    } else {
      pieces.emplace_back();
    }
  }
  std::vector<OptionPart> parts;
  for (const std::string& piece : pieces) {
    const std::size_t equals = piece.find('=');
    if (equals != std::string::npos)
      parts.push_back({piece.substr(0, equals), piece.substr(equals + 1)});
    else if (parts.empty())
      parts.push_back({"", piece});
    else
      return fail(ErrorKind::kInvalidArgument, "'{}' is not name=value", piece);
  }
  return parts;
}

Result<> add_user_file(FwCfg& fw_cfg, std::string_view text) {
  constexpr std::uint64_t kMaxSize = 64 * kMiB;
  DOPPEL_ASSIGN(const std::vector<OptionPart> parts, split_option(text));
  std::string name;
  const OptionPart* source = nullptr;
  for (const OptionPart& part : parts) {
    if (part.name.empty() || part.name == "name") {
      name = part.value;
    } else if (part.name == "file" || part.name == "string") {
      if (source != nullptr) return fail(ErrorKind::kInvalidArgument, "write one of file= and string=, not both");
      source = &part;
    } else {
      NearestName nearest(part.name);
      for (const char* const known : {"name", "file", "string"}) nearest.offer(known);
      return fail(ErrorKind::kInvalidArgument, "there is no key '{}'{}", part.name, nearest.suggestion());
    }
  }
  if (name.empty() || source == nullptr)
    return fail(ErrorKind::kInvalidArgument, "name=NAME with file=PATH or string=TEXT is missing");
  if (source->name == "string") return fw_cfg.add_file(name, text_bytes(source->value));
  DOPPEL_ASSIGN(Blob contents, read_blob(source->value, kMaxSize));
  return fw_cfg.add_file(name, std::move(contents));
}

}  // namespace doppel::hw
