# frozen_string_literal: true

require "cgi/escape"

module Transfer
  # Display of a result as tables in notebooks, by its `to_h`.
  module Tabular
    # Rows of a table, and members of a value.
    MOST = 20
    private_constant :MOST

    # @return [String] a fragment of HTML without scripts and requests, with all texts escaped
    def to_html = Tabular.html(to_h)

    # @return [Array(String, String)] MIME type and content, for IRuby
    def to_iruby = ["text/html", to_html]

    class << self
      # @param fields [Hash{Symbol => Object}] plain data: a table of its values, and one of each list of Hashes
      # @return [String]
      def html(fields)
        lists, values = fields.partition { |_, value| value.is_a?(Array) && value.any? && value.all?(Hash) }
        facts = values.flat_map { |name, value| facts(name, value) }
        [table(facts), *lists.map { |name, rows| list(name, rows) }].join("\n")
      end

      private

      def facts(name, value)
        return value.first(MOST).flat_map { |key, inner| facts("#{name} #{key}", inner) } if value.is_a?(Hash)

        matrix = value.is_a?(Array) && value.any?(Array)
        matrix || value.nil? ? [] : [[name, value]]
      end

      def list(name, rows)
        names = rows.first.keys
        caption = rows.size > MOST ? "#{name}: #{MOST} of #{rows.size}" : name
        table(rows.first(MOST).map { |row| row.values_at(*names) }, caption, names)
      end

      def table(rows, caption = nil, head = [])
        lines = rows.map do |first, *others|
          %(<tr><th scope="row">#{cell(first)}</th>#{others.map { |other| "<td>#{cell(other)}</td>" }.join}</tr>)
        end
        lines.unshift("<tr>#{head.map { |name| %(<th scope="col">#{cell(name)}</th>) }.join}</tr>") if head.any?
        "<table>#{"<caption>#{cell(caption)}</caption>" if caption}#{lines.join}</table>"
      end

      def cell(value) = CGI.escapeHTML(text(value).scrub)

      def text(value)
        case value
        when Float then format("%.4g", value)
        when Hash then value.first(MOST).map { |pair| pair.map { |one| text(one) }.join(" ") }.join(", ")
        when Array then [*value.first(MOST).map { |one| text(one) }, *("…" if value.size > MOST)].join(", ")
        else value.to_s
        end
      end
    end
  end
  private_constant :Tabular
end
