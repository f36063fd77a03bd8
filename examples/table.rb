# frozen_string_literal: true

# Predict from a table of numbers and categories with missing cells. Column types are inferred from the training rows
# and kept in the model, which takes rows as they come.
#
#   ruby -I gem/lib examples/table.rb

require "csv"
require "tmpdir"
require "transfer"

Dir.mktmpdir do |folder|
  random = Random.new(1)
  towns = { "Ulm" => 120, "Bern" => 260, "Rom" => 190 }
  CSV.open("#{folder}/flats.csv", "w") do |csv|
    csv << %w[area town balcony price]
    400.times do
      area = random.rand(20..140)
      town = towns.keys.sample(random:)
      balcony = random.rand(2).zero?
      price = (area * (towns[town] / 60.0)) + (balcony ? 40 : 0) + random.rand(-20.0..20.0)
      csv << [random.rand(20).zero? ? nil : area, town, balcony, price.round(2)]
    end
  end

  model = Transfer.train(backbone: "sklearn:ColumnTransformer", data: "#{folder}/flats.csv",
                         columns: { target: "price" }, head: :gradient_boosting)
  puts "explains #{(100 * model.metrics[:r2]).round} % of the variance of the held-out prices"

  flat = { area: 80, town: "Bern", balcony: true }
  puts "80 m² in Bern with a balcony: #{model.predict(flat).value.round}"
  puts "the same in an unknown town: #{model.predict({ **flat, town: 'Oslo' }).value.round}"
  puts "and of unknown size: #{model.predict({ **flat, area: nil }).value.round}"
end
