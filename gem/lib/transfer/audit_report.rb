# frozen_string_literal: true

require_relative "tabular"
require_relative "value_object"

module Transfer
  # The result of {Transfer.audit}: findings about labelled data.
  #
  # @example
  #   report = Transfer.audit(data: "photos/")
  #   puts report
  #   report.save("audit.csv")   # correct the labels, set keep to no, and train with it:
  #   Transfer.train(backbone: "mobilenet_v2", data: "photos/", corrections: "audit.csv")
  class AuditReport
    include ValueObject
    include Tabular

    # One finding. `kind` is :unreadable, :duplicate, :near_duplicate, :wrong_label, :outlier, :imbalance,
    # :leaking_column, :spurious_cue or :group; `input` a path or the number of a row, nil: about the data as a whole;
    # `suggested` a label that fits better; `other` the input that it is a copy of; `keep?` whether a training with
    # the saved table keeps the input.
    Finding = Data.define(:kind, :detail, :input, :label, :suggested, :score, :keep, :other) do
      alias_method :keep?, :keep
    end

    # Columns of the table.
    COLUMNS = %i[input kind label suggested score keep detail].freeze
    SHOWN = 10
    private_constant :COLUMNS, :SHOWN

    # @return [Symbol] :image, :text or :table
    attr_reader :modality
    # @return [Symbol] :classification, :multi_label or :regression
    attr_reader :task
    # @return [Integer] readable examples
    attr_reader :examples
    # @return [Hash{String => Integer}] the number of examples by label; empty of a regression
    attr_reader :labels
    # @return [Array<Finding>] by kind
    attr_reader :findings

    # @param plain [Hash{String => Object}] as the worker sends it
    # @api private
    def initialize(plain)
      @modality, @task = plain.values_at("modality", "task").map(&:to_sym)
      @examples, @labels = plain.values_at("examples", "labels").each(&:freeze)
      @findings = plain["findings"].map { |one| Finding.new(**one.transform_keys(&:to_sym), kind: one["kind"].to_sym) }
                                   .freeze
      freeze
    end

    # @return [Hash{Symbol => Integer}] number of findings by kind
    def counts = findings.map(&:kind).tally

    # @param kind [Symbol]
    # @return [Array<Finding>]
    def of(kind) = findings.select { |one| one.kind == kind }

    # Writes the findings about single inputs as CSV, to be corrected and given to the word `corrections` of a recipe.
    # @param path [String, Pathname]
    # @return [Pathname]
    # @raise [ConfigurationError] if the file can't be written
    def save(path)
      require_relative "replacement"
      rows = findings.reject { |one| one.input.nil? }.map { |one| cells(one) }
      Replacement.write(path.to_s, [COLUMNS, *rows].map { |row| "#{row.map { |cell| quoted(cell) }.join(',')}\n" }.join)
      Pathname(path)
    end

    # @return [Hash{Symbol => Object}]
    def to_h = { modality:, task:, examples:, labels:, findings: findings.map(&:to_h) }

    # @return [String] a text for people: the first findings of each kind
    def to_s
      kinds = counts.flat_map do |kind, count|
        more = count - SHOWN
        ["", "#{kind} (#{count})", *of(kind).first(SHOWN).map { |one| "  #{line(one)}" },
         *("  and #{more} more" if more.positive?)]
      end
      ["#{examples} readable examples, #{findings.size} findings", *kinds].join("\n")
    end

    def inspect = "#<#{self.class} #{counts.map { |pair| pair.join(': ') }.join(', ')}>"

    private

    def cells(one)
      [one.input, one.kind, one.label, one.suggested, one.score && format("%.4f", one.score), one.keep ? "yes" : "no",
       one.detail]
    end

    def quoted(cell)
      text = cell.to_s
      text.match?(/[",\r\n]/) ? %("#{text.gsub('"', '""')}") : text
    end

    def line(one)
      place = one.input.is_a?(Integer) ? "row #{one.input}" : one.input
      label = one.suggested ? "#{one.label} → #{one.suggested}" : one.label
      [place, label, one.detail].compact.reject(&:empty?).map { |text| text.inspect[1..-2].gsub('\\"', '"') }.join("  ")
    end
  end

  # A running audit.
  class DataAudit < Job
    # @param recipe [Recipe]
    # @param page [Hash{String => Object}, nil] parameters for the page to write
    # @param quiet [Boolean, nil] nil: as configured
    def initialize(recipe, page, quiet: nil) = super(recipe, Request.new("audit", recipe, options: page || {}), quiet:)

    private

    def made_of(plain) = AuditReport.new(plain)
  end
  private_constant :DataAudit
end
