# frozen_string_literal: true

module Transfer
  module Onnx
    class Tokenizer
      # Pre-tokenizers of tokenizer.json: each a function from a text, and whether it begins the input, to parts.
      module Splitter
        # Of Unicode 8, as tokenizers has it.
        PUNCTUATION = "[$+<=>^`|~[\\p{P}&&\\p{Age=8.0}]\\u166d\\u{111c9}]"
        WORD = "(?:\\p{Alphabetic}|\\p{M}|\\p{Nd}|\\p{Pc}|[\\u200c\\u200d])"
        BERT = /#{PUNCTUATION}|(?:(?!#{PUNCTUATION})[^[:space:]])+/
        WORDS = /#{WORD}+|(?:(?!#{WORD})[^[:space:]])+/
        # GPT-2's.
        BYTE_LEVEL = /'s|'t|'re|'ve|'m|'ll|'d|[ ]?\p{L}+|[ ]?\p{N}+|[ ]?(?:(?![\p{L}\p{N}])[^[:space:]])+|
                      [[:space:]]+(?![^[:space:]])|[[:space:]]+/x
        # GPT-2's visible characters for bytes.
        VISIBLE = [*0x21..0x7e, *0xa1..0xac, *0xae..0xff].freeze
        BYTES = (0..255).to_h do |byte|
          [byte, (if VISIBLE.include?(byte)
                    byte
                  else
                    256 + byte - VISIBLE.count do |each|
                                   each < byte
                                 end
                  end).chr(Encoding::UTF_8)]
        end.freeze

        # From pieces to parts.
        BEHAVIORS = {
          "Removed" => ->(pieces) { pieces.reject(&:last).map(&:first) },
          "Isolated" => ->(pieces) { pieces.map(&:first) },
          "Contiguous" => lambda do |pieces|
            pieces.chunk_while { |(_, before), (_, found)| before == found }.map { |some| some.map(&:first).join }
          end,
          "MergedWithPrevious" => lambda do |pieces|
            pieces.slice_when { |(_, before), (_, found)| before || !found }.map { |some| some.map(&:first).join }
          end,
          "MergedWithNext" => lambda do |pieces|
            pieces.slice_when { |(_, before), (_, found)| found || !before }.map { |some| some.map(&:first).join }
          end
        }.freeze

        # By type, a function from the JSON to a pre-tokenizer.
        KINDS = {
          "Sequence" => ->(json) { sequence(Array(json["pretokenizers"]).map { |step| build(step) }) },
          "BertPreTokenizer" => ->(_) { ->(text, _) { text.scan(BERT) } },
          "Whitespace" => ->(_) { ->(text, _) { text.scan(WORDS) } },
          "WhitespaceSplit" => ->(_) { ->(text, _) { text.scan(/[^[:space:]]+/) } },
          "ByteLevel" => ->(json) { byte_level(json) },
          "Metaspace" => ->(json) { metaspace(json) },
          "Punctuation" => ->(json) { splitting(/#{PUNCTUATION}/, json["behavior"] || "Isolated") },
          "Digits" => ->(json) { splitting(json["individual_digits"] ? /\p{N}/ : /\p{N}+/, "Isolated") },
          "Split" => ->(json) { splitting(Pattern.of(json["pattern"]), json["behavior"], inverted: json["invert"]) }
        }.freeze
        private_constant :PUNCTUATION, :WORD, :BERT, :WORDS, :BYTE_LEVEL, :VISIBLE, :BYTES, :BEHAVIORS, :KINDS

        class << self
          # @param text [String] of visible characters for bytes
          # @return [String]
          def of_visible(text)
            @bytes ||= BYTES.invert
            bytes = text.each_char.flat_map { |character| @bytes[character] || character.bytes }
            bytes.pack("C*").force_encoding(Encoding::UTF_8).scrub
          end

          # @param json [Hash, nil]
          # @return [#call]
          # @raise [Unsupported]
          def build(json)
            return ->(text, _) { [text] } if json.nil?

            kind = KINDS[json["type"]] or raise Unsupported, "its pre-tokenizer #{json['type']}"
            instance_exec(json, &kind)
          end

          private

          # Only the first part of a text begins the input.
          def sequence(steps)
            lambda do |text, begins|
              steps.inject([text]) do |parts, step|
                parts.each_with_index.flat_map { |part, i| step.call(part, begins && i.zero?) }
              end
            end
          end

          def byte_level(json)
            lambda do |text, _|
              text = " #{text}" if json["add_prefix_space"] && !text.start_with?(" ")
              parts = json["use_regex"] == false ? [text] : text.scan(BYTE_LEVEL)
              parts.map { |part| part.each_byte.map { |byte| BYTES[byte] }.join }
            end
          end

          def metaspace(json)
            mark = json["replacement"] || "▁"
            scheme = json["prepend_scheme"] || (json["add_prefix_space"] == false ? "never" : "always")
            lambda do |text, begins|
              text = text.tr(" ", mark)
              prepends = scheme == "always" || (scheme == "first" && begins)
              text = "#{mark}#{text}" if prepends && !text.start_with?(mark)
              json["split"] == false ? [text] : text.split(/(?=#{Regexp.escape(mark)})/)
            end
          end

          def splitting(pattern, behavior, inverted: false)
            raise Unsupported, "its pre-tokenizer Split" unless BEHAVIORS.key?(behavior)

            lambda do |text, _|
              pieces = pieces(text, pattern)
              pieces = pieces.map { |piece, found| [piece, !found] } if inverted
              BEHAVIORS.fetch(behavior).call(pieces).reject(&:empty?)
            end
          end

          # @return [Array<Array(String, Boolean)>] the text in order, with whether each piece matched
          def pieces(text, pattern)
            pieces = []
            place = 0
            text.to_enum(:scan, pattern).each do
              match = Regexp.last_match
              next if match[0].empty?

              pieces << [text[place...match.begin(0)], false] if match.begin(0) > place
              pieces << [match[0], true]
              place = match.end(0)
            end
            place < text.size ? pieces << [text[place..], false] : pieces
          end
        end
      end
      private_constant :Splitter
    end
  end
end
