# frozen_string_literal: true

module Transfer
  module Onnx
    class Tokenizer
      # Decoders of tokenizer.json: each a function from tokens to tokens, whose texts are joined in the end.
      module Decoder
        BYTE = /\A<0x(\h\h)>\z/
        # By type, a function from the JSON to a decoder.
        KINDS = {
          "Sequence" => lambda do |json|
            steps = Array(json["decoders"]).map { |step| build(step) }
            ->(tokens) { steps.inject(tokens) { |all, step| step.call(all) } }
          end,
          "Metaspace" => ->(json) { metaspace(json) },
          "ByteFallback" => ->(_) { method(:of_bytes) },
          "ByteLevel" => ->(_) { ->(tokens) { [Splitter.of_visible(tokens.join)] } },
          "Fuse" => ->(_) { ->(tokens) { [tokens.join] } },
          "Strip" => ->(json) { ->(tokens) { tokens.map { |token| strip(token, json) } } },
          "Replace" => lambda do |json|
            pattern = Pattern.of(json["pattern"])
            ->(tokens) { tokens.map { |token| token.gsub(pattern) { json["content"].to_s } } }
          end,
          "BPEDecoder" => lambda do |json|
            suffix = json["suffix"] || "</w>"
            ->(tokens) { tokens.each_with_index.map { |one, i| one.gsub(suffix, i == tokens.size - 1 ? "" : " ") } }
          end
        }.freeze
        private_constant :BYTE, :KINDS

        class << self
          # @param json [Hash, nil]
          # @return [#call]
          # @raise [Unsupported]
          def build(json)
            return ->(tokens) { [tokens.join(" ")] } if json.nil?

            kind = KINDS[json["type"]] or raise Unsupported, "its decoder #{json['type']}"
            instance_exec(json, &kind)
          end

          private

          # The mark of the first token is not part of the text.
          def metaspace(json)
            mark = json["replacement"] || "▁"
            prepends = (json["prepend_scheme"] || "always") != "never"
            ->(tokens) { tokens.each_with_index.map { |one, i| one.gsub(mark, prepends && i.zero? ? "" : " ") } }
          end

          def of_bytes(tokens)
            runs = tokens.chunk_while { |one, other| BYTE.match?(one) && BYTE.match?(other) }
            runs.flat_map do |run|
              next run unless BYTE.match?(run.first)

              bytes = run.map { |token| token[BYTE, 1].hex }
              text = bytes.pack("C*").force_encoding(Encoding::UTF_8)
              text.valid_encoding? ? text : ["\ufffd"] * bytes.size
            end
          end

          def strip(token, json)
            mark = Regexp.escape(json["content"].to_s)
            token.sub(/\A(?:#{mark}){0,#{json['start'].to_i}}/, "").sub(/(?:#{mark}){0,#{json['stop'].to_i}}\z/, "")
          end
        end
      end
      private_constant :Decoder
    end
  end
end
