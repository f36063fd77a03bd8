# frozen_string_literal: true

require_relative "value_object"

module Transfer
  # The result of {Transfer.compare_domains}.
  class DomainReport
    include ValueObject

    # A feature of the embeddings that differs: its name or number, and the difference of the means in standard
    # deviations, second minus first.
    Feature = Data.define(:feature, :effect)
    # A label: its shares in both domains (nil where a domain has no labels), and the distance of its means relative to
    # that of the domains.
    ClassShare = Data.define(:share, :distance)

    # @return [Array(Integer, Integer)] numbers of inputs of both domains
    attr_reader :sizes
    # @return [Float] 0 (equal) to 2 (a linear classifier separates the domains without error)
    attr_reader :proxy_a_distance
    # @return [Float] squared maximum mean discrepancy
    attr_reader :mmd
    # @return [Float] the p-value of the hypothesis that the domains are equal
    attr_reader :p_value
    # @return [Array<Feature>] the features that differ most
    attr_reader :features
    # @return [Hash{String => ClassShare}] by label
    attr_reader :classes
    # @return [Hash{Symbol => Float}, nil] of a classifier of the first domain: its `accuracy` and confidence there
    #   (`first`), its confidence in the `second` domain, and the `expected_accuracy` there; nil without labels
    attr_reader :confidence
    # @return [Hash{Symbol => Array<String>}] inputs typical of the `first` and of the `second` domain
    attr_reader :typical

    # @param plain [Hash{String => Object}] as the worker sends it
    def initialize(plain)
      @sizes, @proxy_a_distance, @mmd, @p_value = plain.values_at("sizes", "proxy_a_distance", "mmd", "p_value")
      @features = plain["features"].map { |one| Feature.new(**one.transform_keys(&:to_sym)) }.freeze
      @classes = plain["classes"].transform_values { |one| ClassShare.new(**one.transform_keys(&:to_sym)) }.freeze
      @confidence = plain["confidence"]&.transform_keys(&:to_sym)
      @typical = plain["typical"].transform_keys(&:to_sym).freeze
      freeze
    end

    # @return [Hash{Symbol => Object}]
    def to_h
      { sizes:, proxy_a_distance:, mmd:, p_value:, features: features.map(&:to_h),
        classes: classes.transform_values(&:to_h), confidence:, typical: }
    end

    # @return [String] a text for people, a line per finding
    def to_s
      ["#{sizes.join(' and ')} inputs",
       format("proxy A-distance %.2f (0: equal, 2: separable)", proxy_a_distance),
       format("MMD² %<mmd>.4f, p = %<p>.3g", mmd:, p: p_value),
       *confidence_line, *class_lines, *feature_lines, *typical_lines].join("\n")
    end

    def inspect
      format("#<%<name>s A-distance %<a>.2f, p = %<p>.3g>", name: self.class, a: proxy_a_distance, p: p_value)
    end

    private

    def confidence_line
      return [] unless confidence

      format("a classifier of the first: accuracy %<accuracy>.2f, confidence %<first>.2f; in the second confidence " \
             "%<second>.2f, expected accuracy %<expected_accuracy>.2f", confidence)
    end

    def class_lines
      classes.sort_by { |_, found| -(found.distance || 0) }.map do |label, found|
        shares = found.share.map { |share| share ? format("%.1f%%", share * 100) : "?" }.join(" → ")
        "#{label}: #{shares}#{format(', distance %.2f', found.distance) if found.distance}"
      end
    end

    def feature_lines = features.map { |one| format("feature #{one.feature}: %+.2f standard deviations", one.effect) }

    def typical_lines = typical.map { |side, names| "typical of the #{side}: #{names.join(', ')}" }
  end

  # A running comparison of domains.
  class DomainComparison < Job
    # @param recipe [Recipe]
    # @param quiet [Boolean, nil] nil: as configured
    def initialize(recipe, quiet: nil) = super(recipe, Request.new("compare_domains", recipe), quiet:)

    private

    def made_of(plain) = DomainReport.new(plain)
  end
  private_constant :DomainComparison
end
