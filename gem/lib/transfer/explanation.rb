# frozen_string_literal: true

require_relative "value_object"

module Transfer
  # The result of {Model#explain}: contributions of the parts of an input to the score of its prediction.
  #
  # @example
  #   why = model.explain("photo.jpg")
  #   why.save("why.png")
  class Explanation
    include ValueObject

    # A word or term of a text, and its contribution.
    Token = Data.define(:text, :score)

    # @return [String] the explained class, label or output of a regression
    attr_reader :label
    # @return [String, nil] the class whose score is subtracted
    attr_reader :against
    # @return [Symbol] :hirescam, :attention, :linear or :occlusion (docs/reference/explanation.md)
    attr_reader :method
    # @return [Float] the logit of the label, less that of `against`; of a regression the value
    attr_reader :score
    # @return [Float, nil] the score that contributions add up from, of the method :linear
    attr_reader :base
    # @return [Tensor, nil] the contribution of each pixel of the center crop of an image, float32 (height, width)
    attr_reader :heatmap
    # @return [String, nil] that crop as PNG: contributions for the label in red, against it in blue
    attr_reader :overlay
    # @return [Array<Token>, nil] of a text
    attr_reader :tokens
    # @return [Hash{String => Float}, nil] contributions of the columns of a row
    attr_reader :columns

    # @param plain [Hash{String => Object}] as the worker sends it
    # @api private
    def initialize(plain)
      @label, @against, @score, @base, @heatmap, @overlay =
        plain.values_at("label", "against", "score", "base", "heatmap", "overlay")
      @method = plain["method"].to_sym
      @tokens = plain["tokens"]&.map { |one| Token.new(**one.transform_keys(&:to_sym).slice(:text, :score)) }&.freeze
      @columns = plain["columns"]&.freeze
      freeze
    end

    # Writes the overlay of an image (`….png`), or all contributions (`….json`). A link is replaced, not followed.
    # @param file [String, Pathname]
    # @return [Pathname] the file
    # @raise [ConfigurationError] if the name has another ending, or the file can't be written
    def save(file)
      file = Pathname.new(file)
      ending = file.extname.downcase
      unless ending == ".json" || (ending == ".png" && overlay)
        raise ConfigurationError, "#{file}: expected a name that ends with #{'.png or ' if overlay}.json"
      end

      Replacement.write(file.to_s, ending == ".png" ? overlay : to_json)
      file
    end

    # @return [Hash{Symbol => Object}] without the overlay; the heatmap as an Array of rows
    def to_h
      places = heatmap&.to_a
      { label:, against:, method:, score:, base:, heatmap: places, tokens: tokens&.map(&:to_h), columns: }.compact
    end

    # @return [Hash{String => Float}] the words or columns with the largest contributions; empty for an image
    # @param count [Integer]
    def top(count = 10)
      named = columns || (tokens || []).to_h { |token| [token.text, token.score] }
      named.max_by(count) { |_, score| score.abs }.to_h
    end

    def inspect
      what = [label, against && "against #{against}"].compact.join(" ")
      "#<#{self.class} of #{what} by #{method}: #{format('%.3f', score)}>"
    end
  end
end
