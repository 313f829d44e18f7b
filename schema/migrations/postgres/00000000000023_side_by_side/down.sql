DROP TABLE __holdfast_oldest;
