# frozen_string_literal: true

# Predict the median sale price of houses in 46 cities of Texas from a table with dates and missing cells.
# docs/guides/fields/housing.md explains it. The data, txhousing, comes with the Python package plotnine:
#
#   .venv/bin/python -m pip install --no-deps -r python/dev-weights.txt
#   ruby -I gem/lib examples/housing.rb          # train on 2000 to 2012, measure on 2014 and 2015
#   ruby -I gem/lib examples/housing.rb random   # a random split, which flatters: months of one year are alike

require "csv"
require "date"
require "transfer"
require_relative "package_file"

PARTS = Hash.new("train").merge("2013" => "valid", "2014" => "test", "2015" => "test")

def number(cell) = (Float(cell) unless cell == "NA")

# A date as numbers and categories: months since January 2000 for the trend, the month's name for the season.
def date_columns(record)
  { months: (12 * (Integer(record["year"]) - 2000)) + Integer(record["month"]) - 1,
    month: Date::ABBR_MONTHNAMES[Integer(record["month"])] }
end

def rows(table)
  prices = table.to_h { |record| [record.values_at("city", "year", "month"), number(record["median"])] }
  table.filter_map do |record|
    next unless number(record["median"]) # a row without a target can be used neither for training nor for measuring

    year_ago = prices[[record["city"], (Integer(record["year"]) - 1).to_s, record["month"]]]
    input = { city: record["city"], **date_columns(record), median_a_year_ago: year_ago,
              **%w[sales listings inventory].to_h { |name| [name.to_sym, number(record[name])] } }
    { input:, label: number(record["median"]), split: PARTS[record["year"]] }
  end
end

file = PackageFile.path("plotnine", "data/txhousing.csv") || abort("plotnine is not installed")
data = rows(CSV.read(file, headers: true))
puts "#{data.size} rows, #{data.count { |row| row[:input].value?(nil) }} with missing cells"
data = data.map { |row| row.except(:split) } if ARGV.first == "random"

model = Transfer.train(backbone: "sklearn:ColumnTransformer", data:, task: :regression, head: :gradient_boosting,
                       seed: 0)

metrics = model.metrics
puts format("%<examples>d held-out rows: mean absolute error %<mae>.0f dollars, R² %<r2>.3f",
            metrics.slice(:examples, :mae, :r2))
puts format("baseline, the mean of the training prices: %.0f dollars", metrics[:baseline][:mae])
puts format("intervals at 0.9 contain %.1f %% of the prices", 100 * metrics[:conformal][:coverage])

austin = { city: "Austin", months: 187, month: "Aug", median_a_year_ago: 243_800 }
prediction = model.predict({ **austin, sales: 3000, listings: nil, inventory: 2.9 }, level: 0.9)
puts format("Austin, August 2015: %.0f dollars (%.0f to %.0f)", prediction.value, *prediction.interval)
