# frozen_string_literal: true

require_relative "shown"
require_relative "value_object"

module Transfer
  # The result of {Model#explain}: contributions of the parts of an input to the score of its prediction.
  #
  # @example
  #   why = model.explain("photo.jpg")
  #   why.save("why.png")
  class Explanation
    include ValueObject
    include Shown

    # A word or term of a text, and its contribution.
    Token = Data.define(:text, :score)
    # Attention of a generated text to its source: pieces of both, and a {Tensor} with a row for each of the target.
    Alignment = Data.define(:source, :target, :weights)

    # @return [String, nil] the explained class, label or output of a regression; of a translation the target; nil of a
    #   photo with boxes, unless it was given
    attr_reader :label
    # @return [String, nil] the class whose score is subtracted
    attr_reader :against
    # @return [Symbol] :hirescam, :attention, :rollout, :linear, :integrated_gradients, :occlusion, :rise or
    #   :cross_attention (docs/reference/explanation.md)
    attr_reader :method
    # @return [Float, nil] the logit of the label, less that of `against`; of a regression the value; of a translation
    #   the mean probability of its tokens; nil of a photo with boxes
    attr_reader :score
    # @return [Float, nil] the score that contributions add up from, of :linear and :integrated_gradients
    attr_reader :base
    # @return [Tensor, nil] the contribution of each pixel of the center crop of an image, float32 (height, width)
    attr_reader :heatmap
    # @return [String, nil] that crop as PNG: contributions for the label in red, against it in blue; of a detector the
    #   photo with its boxes; of a translation the matrix of its alignment
    attr_reader :overlay
    # @return [Array<Token>, nil] of a text
    attr_reader :tokens
    # @return [Hash{String => Float}, nil] contributions of the columns of a row
    attr_reader :columns
    # @return [Hash{Symbol => Float}, nil] `x`, `y`, `width` and `height` of one of {#boxes}, in pixels of the photo
    attr_reader :box
    # @return [Array<Explanation>, nil] of a detector: an explanation of each box, the highest score first
    attr_reader :boxes
    # @return [Alignment, nil] of a translation
    attr_reader :alignment
    # @return [String, nil] a fragment of HTML without scripts and requests, with labels and inputs escaped
    attr_reader :to_html

    # @param plain [Hash{String => Object}] as the worker sends it
    # @api private
    def initialize(plain)
      @label, @against, @score, @base, @heatmap, @overlay, @to_html =
        plain.values_at("label", "against", "score", "base", "heatmap", "overlay", "html")
      @method = plain["method"].to_sym
      parse_parts(plain)
      freeze
    end

    # @return [Hash{Symbol => Object}] without pictures; the heatmap as an Array of rows
    def to_h
      places = heatmap&.to_a
      aligned = alignment && { **alignment.to_h, weights: alignment.weights.to_a }
      { label:, against:, method:, score:, base:, heatmap: places, tokens: tokens&.map(&:to_h), columns:, box:,
        boxes: boxes&.map(&:to_h), alignment: aligned }.compact
    end

    # @return [Hash{String => Float}] the words or columns with the largest contributions; empty for an image
    # @param count [Integer]
    def top(count = 10)
      named = columns || (tokens || []).to_h { |token| [token.text, token.score] }
      named.max_by(count) { |_, score| score.abs }.to_h
    end

    def inspect
      what = [label || "#{boxes&.size} boxes", against && "against #{against}"].compact.join(" ")
      "#<#{self.class} of #{what} by #{method}#{": #{format('%.3f', score)}" if score}>"
    end

    private

    def parse_parts(plain)
      parts = plain.slice("tokens", "boxes", "alignment").to_h { |word, part| [word, send(:"#{word}_of", part).freeze] }
      @tokens, @boxes, @alignment = parts.values_at("tokens", "boxes", "alignment")
      @columns = plain["columns"]&.freeze
      @box = plain["box"]&.transform_keys(&:to_sym)&.freeze
    end

    def tokens_of(rows) = rows.map { |row| Token.new(*row.values_at("text", "score")) }

    def boxes_of(rows) = rows.map { |row| Explanation.new(row) }

    def alignment_of(plain) = Alignment.new(*plain.values_at("source", "target", "weights"))
  end
end
