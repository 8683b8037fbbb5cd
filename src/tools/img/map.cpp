// map: which image of a chain has what, and where.
#include <fmt/core.h>

#include "base/text.h"
#include "tools/img/chain.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'f', "", true},         {0, "output", true},         {0, "start-offset", true},
    {0, "max-length", true}, {'U', "force-share", false},
};

struct Piece {
  std::uint64_t start = 0;
  std::uint64_t length = 0;
  unsigned depth = 0;
  bool present = false;
  bool zero = false;
  bool data = false;
  bool compressed = false;
  std::optional<std::uint64_t> offset;
  std::string filename;

  [[nodiscard]] bool continued_by(const Piece& next) const {
    return depth == next.depth && present == next.present && zero == next.zero && data == next.data &&
           compressed == next.compressed && offset.has_value() == next.offset.has_value() &&
           (!offset || *offset + length == *next.offset);
  }
};

void print_human(const Piece& piece) {
  if (piece.data && !piece.zero)
    fmt::print("{:<16}{:<16}{:<16}{}\n", fmt::format("{:#x}", piece.start), fmt::format("{:#x}", piece.length),
               *piece.offset == 0 ? "0" : fmt::format("{:#x}", *piece.offset), piece.filename);
}

std::string json_line(const Piece& piece) {
  std::string line = fmt::format(R"({{ "start": {}, "length": {}, "depth": {}, "present": {}, "zero": {}, "data": {})",
                                 piece.start, piece.length, piece.depth, piece.present, piece.zero, piece.data);
  if (piece.offset) line += fmt::format(R"(, "offset": {})", *piece.offset);
  return line + "}";
}

Result<std::vector<Piece>> collect(Session& session, block::Node& top, std::uint64_t start, std::uint64_t end) {
  std::vector<Piece> pieces;
  while (start < end) {
    DOPPEL_ASSIGN(const ChainStatus found, session.run(chain_status(top, nullptr, start, end - start)));
    const block::BlockStatus& status = found.status;
    Piece piece{.start = start,
                .length = status.bytes,
                .depth = found.depth,
                .present = status.allocated,
                .zero = status.zero,
                .data = status.data,
                .compressed = status.compressed,
                .offset = status.offset,
                .filename = (status.holder != nullptr ? status.holder : found.node)->info().filename};
    if (!pieces.empty() && pieces.back().continued_by(piece))
      pieces.back().length += piece.length;
    else
      pieces.push_back(std::move(piece));
    start += status.bytes;
  }
  return pieces;
}

Result<int> run(Session& session, const Arguments& arguments) {
  DOPPEL_ASSIGN(const std::string filename, only_filename(arguments));
  DOPPEL_ASSIGN(const OpenRequest options, image_options(arguments, filename, false));
  DOPPEL_ASSIGN(const std::uint64_t start, parse_size(arguments.value_or("start-offset", "0")));
  DOPPEL_ASSIGN(OpenImage image, OpenImage::open(session, options));
  std::uint64_t end = image.node().size();
  if (const auto text = arguments.value("max-length")) {
    DOPPEL_ASSIGN(const std::uint64_t most, parse_size(*text));
    if (start < end) end = start + std::min(most, end - start);
  }
  DOPPEL_ASSIGN(const std::vector<Piece> pieces, collect(session, image.node(), start, end));
  if (arguments.value_or("output", "human") == "json") {
    std::string text;
    for (const Piece& piece : pieces) text += (text.empty() ? "" : ",\n") + json_line(piece);
    fmt::print("[{}]\n", text);
    return 0;
  }
  fmt::print("{:<16}{:<16}{:<16}{}\n", "Offset", "Length", "Mapped to", "File");
  for (const Piece& piece : pieces) {
    if (piece.data && !piece.zero && !piece.offset)
      return fail(ErrorKind::kUnsupported, "'{}' has compressed clusters, which are at no offset; use --output=json",
                  filename);
    print_human(piece);
  }
  return 0;
}

}  // namespace

const Command kMap{"map", "[-f FMT] [--output=human|json] [--start-offset=N] [--max-length=N] [-U] FILE", kOptions,
                   run};

}  // namespace doppel::img
