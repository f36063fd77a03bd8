# frozen_string_literal: true

module Transfer
  module Onnx
    # Terms of texts for the vectorizers of scikit-learn, which count them: words, or characters.
    class Terms
      # Python's classes: `\w` is letters, numbers and the underscore.
      WORD = "\\p{L}\\p{N}_"
      CLASSES = { "\\w" => "[#{WORD}]", "\\W" => "[^#{WORD}]", "\\d" => "\\p{Nd}", "\\D" => "\\P{Nd}",
                  "\\s" => "[[:space:]]", "\\S" => "[^[:space:]]",
                  "\\b" => "(?:(?<![#{WORD}])(?=[#{WORD}])|(?<=[#{WORD}])(?![#{WORD}]))" }.freeze
      TIMEOUT_S = 2.0
      FINAL_SIGMA = /(?<=\p{L})Σ(?!\p{L})/
      private_constant :WORD, :CLASSES, :TIMEOUT_S, :FINAL_SIGMA

      # @param text [Hash{String => Object}] the field `text` of the metadata
      # @raise [Description::Invalid]
      def initialize(text)
        @analyzer = Description.check(text["analyzer"], "text.analyzer", String) do |name|
          %w[word char char_wb].include?(name)
        end
        @lowercase, @accents = text.values_at("lowercase", "strip_accents")
        @stop_words = Array(text["stop_words"]).to_h { |word| [word, true] }
        @pattern = pattern(text["token_pattern"]) if @analyzer == "word"
      end

      # @param text [String]
      # @return [Array<String>]
      # @raise [Regexp::TimeoutError]
      def call(text)
        text = prepared(text)
        case @analyzer
        when "word" then words(text)
        when "char" then text.gsub(/[[:space:]]{2,}/, " ").chars
        else text.split(/[[:space:]]+/).reject(&:empty?).flat_map { |word| [*" #{word} ".chars, ""] }
        end
      end

      private

      def prepared(text)
        text = text.gsub(FINAL_SIGMA, "ς").downcase if @lowercase
        return text unless %w[ascii unicode].include?(@accents)

        text = text.unicode_normalize(:nfkd)
        return text.gsub(/[^\u0000-\u007f]/, "") if @accents == "ascii"

        text.each_char.grep_v(->(character) { UnicodeNormalize::CLASS_TABLE.key?(character) }).join
      end

      def words(text)
        text.scan(@pattern).map { |found| found.is_a?(Array) ? found.first.to_s : found }
            .reject { |word| @stop_words.key?(word) }
      end

      def pattern(text)
        text = Description.check(text, "text.token_pattern", String)
        plain = text.sub(/\A\(\?u\)/, "").gsub(/\\\\|\\[wWdDsSb]/) { |found| CLASSES.fetch(found, found) }
        Regexp.new(plain, timeout: TIMEOUT_S)
      rescue RegexpError
        raise Description::Invalid, "its field text.token_pattern can't be used in Ruby: #{Plain.brief(text)}"
      end
    end
    private_constant :Terms
  end
end
